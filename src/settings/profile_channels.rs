//! The part of a channel's settings that is the same for every platform: who may write.
use archond_actors::domain::{AccessMode, AccessPolicy, GroupAccess, PeerId, is_platform_id};
use serde::{Deserialize, Serialize};

use super::reader::{Group, Located, any};
use super::values::Setting;

/// Who may write, as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Word {
    Pairing,
    Allowlist,
    Open,
    Disabled,
}

impl Setting for Word {
    const WRITTEN: &'static str = "one of Pairing, Allowlist, Open and Disabled";
}

/// Reads `access`, `owners`, `users` and `groups` of a channel's group; the caller reads what is its platform's own, and finishes it.
pub fn access(group: &mut Group<'_>) -> AccessPolicy {
    let mode = match group.value("access", Word::Pairing, any) {
        Word::Pairing => AccessMode::Pairing,
        Word::Allowlist => AccessMode::Allowlist,
        Word::Open => AccessMode::Open,
        Word::Disabled => AccessMode::Disabled,
    };
    let (owners, users) = (people(group, "owners"), people(group, "users"));
    let twice = owners.iter().find(|owner| users.iter().any(|user| user.value == owner.value));
    if let Some(twice) = twice {
        let hint = Some("an owner may do all that a user may: remove him there".to_owned());
        group.fault("users", format!("`{}` is an owner, too", twice.value), hint);
    }
    let groups = group.groups("groups").into_iter().filter_map(|mut listed| {
        let id = listed.required::<String>("id", "the platform's number of the group", platform_id);
        let everyone = listed.value("everyone", false, any);
        listed.finish();
        Some(GroupAccess { id: PeerId::new(&id?.value).ok()?, everyone })
    });
    let groups = groups.collect();
    let plain = |people: Vec<Located<String>>| {
        people.iter().filter_map(|person| PeerId::new(&person.value).ok()).collect()
    };
    AccessPolicy { mode, owners: plain(owners), users: plain(users), groups }
}

fn people(group: &mut Group<'_>, name: &'static str) -> Vec<Located<String>> {
    group.list::<String>(name, &[], platform_id)
}

#[expect(clippy::ptr_arg, reason = "a check is given a reference to the setting's own type")]
fn platform_id(text: &String) -> Result<(), String> {
    is_platform_id(text).map_err(|error| format!("must be a number of the platform: {}", error.rule))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::reader::Sheet;
    use super::*;

    fn read(text: &str) -> Result<AccessPolicy, Vec<String>> {
        let sheet = Sheet::new(Path::new("x.ron"), text.to_owned());
        let mut top = sheet.top().unwrap();
        let policy = access(&mut top);
        top.finish();
        let faults = |faults: Vec<super::super::Fault>| faults.iter().map(ToString::to_string).collect();
        sheet.finish().map(|_| policy).map_err(faults)
    }

    #[test]
    fn who_may_write_is_read_with_strangers_kept_out_by_default() {
        assert_eq!(read("()"), Ok(AccessPolicy::default()));
        assert_eq!(AccessPolicy::default().mode, AccessMode::Pairing);
        let id = |text: &str| PeerId::new(text).unwrap();
        let text = r#"(access: Allowlist, owners: ["7"], users: ["8", "9"], groups: [(id: "-100"), (id: "-200", everyone: true)])"#;
        let expected = AccessPolicy {
            mode: AccessMode::Allowlist,
            owners: vec![id("7")],
            users: vec![id("8"), id("9")],
            groups: vec![
                GroupAccess { id: id("-100"), everyone: false },
                GroupAccess { id: id("-200"), everyone: true },
            ],
        };
        assert_eq!(read(text), Ok(expected));
    }

    #[test]
    fn names_and_doubles_are_faults() {
        let table = [
            (r#"(owners: ["@maria"])"#, "a number of the platform"),
            (r#"(owners: ["7"], users: ["7"])"#, "`7` is an owner, too"),
            ("(access: Everybody)", "one of Pairing, Allowlist, Open and Disabled"),
            ("(groups: [(everyone: true)])", "`groups[0].id` is missing"),
            (r#"(groups: [(id: "@club")])"#, "a number of the platform"),
        ];
        for (text, said) in table {
            let faults = read(text).unwrap_err();
            assert!(faults.iter().any(|fault| fault.contains(said)), "{text}: {faults:?}");
        }
    }
}
