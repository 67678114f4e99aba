//! Every decision of a supervisor, as a pure machine: an event and the time go in, effects come out.
