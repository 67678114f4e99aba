//! The integration tests, one binary: each module drives the product from outside.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "it/agent.rs"]
mod agent;
#[path = "it/agent_death.rs"]
mod agent_death;
#[path = "it/api.rs"]
mod api;
#[path = "it/audit.rs"]
mod audit;
#[path = "it/bench.rs"]
mod bench;
#[path = "it/channels_death.rs"]
mod channels_death;
#[path = "it/cli.rs"]
mod cli;
#[path = "it/clients.rs"]
mod clients;
#[path = "it/conversation.rs"]
mod conversation;
#[path = "it/crash_points.rs"]
mod crash_points;
#[path = "it/daemon_death.rs"]
mod daemon_death;
#[path = "it/dialogues.rs"]
mod dialogues;
#[path = "it/disk.rs"]
#[allow(dead_code, reason = "the simulation uses the rest")]
mod disk;
#[path = "it/doctor.rs"]
mod doctor;
#[path = "it/drafter.rs"]
mod drafter;
#[path = "it/examples.rs"]
mod examples;
#[path = "it/faults.rs"]
mod faults;
#[path = "it/flood.rs"]
mod flood;
#[path = "it/gateway.rs"]
mod gateway;
#[path = "it/gitea.rs"]
mod gitea;
#[path = "it/gitea_kit.rs"]
mod gitea_kit;
#[path = "it/hand_off.rs"]
mod hand_off;
#[path = "it/handing_on.rs"]
mod handing_on;
#[path = "it/inquiries.rs"]
mod inquiries;
#[path = "it/kit.rs"]
mod kit;
#[path = "it/ledger.rs"]
mod ledger;
#[path = "it/log_lines.rs"]
mod log_lines;
#[path = "it/long_conversation.rs"]
mod long_conversation;
#[path = "it/mcp.rs"]
mod mcp;
#[path = "it/mcp_death.rs"]
mod mcp_death;
#[path = "it/mcp_kit.rs"]
mod mcp_kit;
#[path = "it/mcp_servers.rs"]
mod mcp_servers;
#[path = "it/media.rs"]
mod media;
#[path = "it/memory.rs"]
mod memory;
#[path = "it/memory_turns.rs"]
mod memory_turns;
#[path = "it/nostr.rs"]
mod nostr;
#[path = "it/nostr_kit.rs"]
mod nostr_kit;
#[path = "it/power_cut.rs"]
mod power_cut;
#[path = "it/power_scenarios.rs"]
mod power_scenarios;
#[path = "it/remote.rs"]
mod remote;
#[path = "it/repl.rs"]
mod repl;
#[path = "it/send_file.rs"]
mod send_file;
#[path = "it/settings.rs"]
mod settings;
#[path = "it/skills.rs"]
mod skills;
#[path = "it/store_contract.rs"]
mod store_contract;
#[path = "it/store_crash.rs"]
mod store_crash;
#[path = "it/store_file.rs"]
mod store_file;
#[path = "it/store_hand_off.rs"]
mod store_hand_off;
#[path = "it/store_journal.rs"]
mod store_journal;
#[path = "it/store_model.rs"]
mod store_model;
#[path = "it/store_notes.rs"]
mod store_notes;
#[path = "it/strangers.rs"]
mod strangers;
#[path = "it/telegram.rs"]
mod telegram;
#[path = "it/telegram_faults.rs"]
mod telegram_faults;
#[path = "it/telegram_flood.rs"]
mod telegram_flood;
#[path = "it/telegram_house.rs"]
mod telegram_house;
#[path = "it/telegram_kit.rs"]
mod telegram_kit;
#[path = "it/telegram_media.rs"]
mod telegram_media;
#[path = "it/tool_search.rs"]
mod tool_search;
#[path = "it/tools.rs"]
mod tools;
#[path = "it/tools_directory.rs"]
mod tools_directory;
#[path = "it/tools_escape.rs"]
mod tools_escape;
#[path = "it/tools_kit.rs"]
mod tools_kit;
#[path = "it/tools_locks.rs"]
mod tools_locks;
#[path = "it/tracer.rs"]
mod tracer;
#[path = "it/web.rs"]
mod web;
#[path = "it/web_forgery.rs"]
mod web_forgery;
#[path = "it/web_kit.rs"]
mod web_kit;
#[path = "it/worker_death.rs"]
mod worker_death;
