//! Models that other machines of the user's run: the lists `remotes` and `egress` of `archond.ron`.
use archond_actors::domain::ModelId;
use archond_models::remote::{Egress, Endpoint};

use super::reader::{Group, any, within};
use super::secret::{KeyReference, is_reference};
use super::values::Amount;

/// Most answers that one server is given at once.
const SLOTS_MAX: u32 = 1024;
/// Longest context of one answer, in tokens: the longest that any model was trained for, many times over.
const CONTEXT_MAX: u32 = 16 << 20;
/// Least context of one answer, in tokens: instructions and a question.
const CONTEXT_MIN: u32 = 1024;

/// One model on another machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteSettings {
    /// Its name in this house. A model of the catalogue by the same name is then not run here.
    pub model: ModelId,
    /// The server.
    pub endpoint: Endpoint,
    /// Its name there; `None`: the only one that the server has.
    pub name: Option<String>,
    /// Where the key is that the server wants.
    pub key: Option<KeyReference>,
    /// Answers side by side; `Auto` is what the server says.
    pub slots: Amount<u32>,
    /// Context of one answer, in tokens; `Auto` is what the server says.
    pub context_tokens: Amount<u32>,
}

/// Reads both lists.
pub(super) fn read(top: &mut Group<'_>) -> Vec<RemoteSettings> {
    let egress = top.list::<String>("egress", &[], |host| {
        let plain =
            !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:".contains(&b));
        plain
            .then_some(())
            .ok_or_else(|| format!("needs the name or address of a host without `http://`, not `{host}`"))
    });
    let egress: Egress = egress.into_iter().map(|host| host.value.to_ascii_lowercase()).collect();
    let mut named = Vec::new();
    top.groups("remotes").into_iter().filter_map(|group| read_one(group, &egress, &mut named)).collect()
}

fn read_one(mut group: Group<'_>, egress: &Egress, named: &mut Vec<ModelId>) -> Option<RemoteSettings> {
    let model = group.required::<String>("model", "the name by which profiles call it", |name| {
        let id = ModelId::new(name).map_err(|error| format!("cannot be `{name}`: {error}"))?;
        if named.contains(&id) {
            return Err(format!("`{name}` is on another server already; give each its own name"));
        }
        Ok(())
    });
    let model = model.and_then(|name| ModelId::new(&name.value).ok());
    named.extend(model.clone());
    let url =
        group.required::<String>("url", "where the server is, like \"http://192.168.1.20:8080\"", |text| {
            Endpoint::parse(text, egress).map(drop).map_err(|fault| fault.to_string())
        });
    let name = group.value("name", None::<String>, any);
    let key = group.value("key", None::<String>, is_reference);
    let slots = group.value("slots", Amount::Auto, |slots| match slots {
        Amount::Auto => Ok(()),
        Amount::Fixed(slots) => within(1..=SLOTS_MAX, " slots")(slots),
    });
    let context_tokens = group.value("context_tokens", Amount::Auto, |tokens| match tokens {
        Amount::Auto => Ok(()),
        Amount::Fixed(tokens) => within(CONTEXT_MIN..=CONTEXT_MAX, " tokens")(tokens),
    });
    let endpoint = url.and_then(|url| Endpoint::parse(&url.value, egress).ok());
    if let Some(endpoint) =
        endpoint.as_ref().filter(|endpoint| key.is_some() && endpoint.is_open_to_the_world())
    {
        let message = format!("`key` would be sent to {endpoint} for everybody on the way to read");
        group.fault("key", message, Some("use an address with `https`".to_owned()));
    }
    group.finish();
    Some(RemoteSettings {
        model: model?,
        endpoint: endpoint?,
        name,
        // It was checked when it was read; a faulty one is reported, and never used.
        key: key.and_then(|text| text.parse().ok()),
        slots,
        context_tokens,
    })
}
