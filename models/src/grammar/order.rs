//! In which order a schema names things: JSON's objects have none, but who writes `reason` before `answer` means it.
use std::collections::HashMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// The order of the keys of every object of a text.
#[derive(Debug, Default)]
pub(super) struct Orders {
    /// By the same keys, sorted.
    objects: HashMap<Vec<String>, Vec<String>>,
    /// Where each key is first, for objects that are put together of several.
    first: HashMap<String, usize>,
}

impl Orders {
    /// Of a JSON text; what is behind a fault is left out.
    pub(super) fn of(text: &str) -> Self {
        let mut orders = Self::default();
        let _faults_were_told_before =
            Reader(&mut orders).deserialize(&mut serde_json::Deserializer::from_str(text));
        orders
    }

    /// These keys, sorted before, as the text has them.
    pub(super) fn sort(&self, names: &mut [&str]) {
        let sorted: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        match self.objects.get(&sorted) {
            Some(order) => names.sort_by_key(|name| order.iter().position(|key| key == name)),
            None => names.sort_by_key(|name| self.first.get(*name).copied().unwrap_or(usize::MAX)),
        }
    }
}

struct Reader<'o>(&'o mut Orders);

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Reader(&mut *self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let mut keys: Vec<String> = Vec::new();
        while let Some(key) = entries.next_key::<String>()? {
            let next = self.0.first.len();
            self.0.first.entry(key.clone()).or_insert(next);
            keys.push(key);
            entries.next_value_seed(Reader(&mut *self.0))?;
        }
        let mut sorted = keys.clone();
        sorted.sort_unstable();
        self.0.objects.entry(sorted).or_insert(keys);
        Ok(())
    }
}
