//! What a channel to a Gitea is told: where it is, as whom to speak, what is meant for the Archon.
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::settings::KeyReference;
use crate::settings::reader::Group;
use crate::settings::secret;
use crate::settings::values::Setting;

/// Longest label or name that a rule may have, in bytes.
const NAME_BYTES_MAX: usize = 200;

/// What is meant for the Archon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rule {
    /// Its account is named as `@name`.
    Mention,
    /// The issue or pull request is assigned to its account.
    Assigned,
    /// Its account is asked for a review.
    ReviewRequested,
    /// The issue or pull request has this label.
    Label(String),
    /// It is in this repository, `owner/name`.
    Repository(String),
}

impl Setting for Rule {
    const WRITTEN: &'static str =
        "one of Mention, Assigned, ReviewRequested, Label(\"ezra\") and Repository(\"owner/name\")";
}

/// A channel's own part of its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GiteaSettings {
    /// Where it is, as people open it in the browser, without a slash at its end.
    pub url: String,
    /// The access token of the Archon's account.
    pub token: KeyReference,
    /// The secret that webhooks are signed with.
    pub secret: KeyReference,
    /// Where webhooks are listened for.
    pub listen: SocketAddr,
    /// What is meant for the Archon; any of them.
    pub answers: Vec<Rule>,
}

impl GiteaSettings {
    /// Reads it. `None`: something was missing, which the group has noted.
    pub fn read(group: &mut Group<'_>) -> Option<Self> {
        let url = group.required::<String>("url", "where it is, like \"http://gitea.lan:3000\"", is_base);
        let token = secret::required(
            group,
            "token",
            "where the token of the Archon's account is, like \"file:/PATH\"",
        );
        let secret = secret::required(group, "secret", "where the webhooks' secret is, like \"file:/PATH\"");
        let listen = group.required::<String>(
            "listen",
            "where webhooks are to be sent, like \"127.0.0.1:9180\"",
            is_address,
        );
        let usual = [Rule::Mention, Rule::Assigned, Rule::ReviewRequested];
        let answers = group.list("answers", &usual, is_rule);
        if answers.is_empty() {
            group.fault("answers", "without a rule nothing is ever meant for the Archon", None);
        }
        let answers = answers.into_iter().map(|rule| rule.value).collect();
        Some(Self {
            url: url?.value.trim_end_matches('/').to_owned(),
            token: token?,
            secret: secret?,
            listen: listen?.value.parse().ok()?,
            answers,
        })
    }
}

#[expect(clippy::ptr_arg, reason = "a check is given a reference to the setting's own type")]
fn is_base(text: &String) -> Result<(), String> {
    let wanted =
        "must be an address like \"http://gitea.lan:3000\", without a name, a password or a question";
    let url = Url::parse(text).map_err(|_| wanted.to_owned())?;
    let is_plain = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if is_plain { Ok(()) } else { Err(wanted.to_owned()) }
}

#[expect(clippy::ptr_arg, reason = "a check is given a reference to the setting's own type")]
fn is_address(text: &String) -> Result<(), String> {
    text.parse::<SocketAddr>()
        .map(drop)
        .map_err(|_| "must be an address and a port, like \"127.0.0.1:9180\"".to_owned())
}

fn is_rule(rule: &Rule) -> Result<(), String> {
    match rule {
        Rule::Mention | Rule::Assigned | Rule::ReviewRequested => Ok(()),
        Rule::Label(name) if name.trim().is_empty() || name.len() > NAME_BYTES_MAX => {
            Err("needs a label's name, like Label(\"ezra\")".to_owned())
        }
        Rule::Label(_) => Ok(()),
        Rule::Repository(name) => {
            let parts: Vec<&str> = name.split('/').collect();
            let is_name =
                parts.len() == 2 && parts.iter().all(|part| !part.is_empty()) && name.len() <= NAME_BYTES_MAX;
            is_name
                .then_some(())
                .ok_or_else(|| "needs a repository, like Repository(\"owner/name\")".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::settings::reader::Sheet;

    fn read(text: &str) -> Result<Option<GiteaSettings>, Vec<String>> {
        let sheet = Sheet::new(Path::new("gitea.ron"), text.to_owned());
        let mut top = sheet.top().unwrap();
        let settings = GiteaSettings::read(&mut top);
        top.finish();
        let said = |faults: Vec<crate::settings::Fault>| faults.iter().map(ToString::to_string).collect();
        sheet.finish().map(|_| settings).map_err(said)
    }

    #[test]
    fn a_file_is_read_with_the_usual_rules() {
        let text =
            r#"(url: "https://git.lan/gitea/", token: "file:/t", secret: "env:S", listen: "127.0.0.1:9180")"#;
        let settings = read(text).unwrap().unwrap();
        assert_eq!(settings.url, "https://git.lan/gitea");
        assert_eq!(settings.answers, [Rule::Mention, Rule::Assigned, Rule::ReviewRequested]);
        let text = text.replace(")", r#", answers: [Label("ezra"), Repository("maria/site")])"#);
        let expected = [Rule::Label("ezra".into()), Rule::Repository("maria/site".into())];
        assert_eq!(read(&text).unwrap().unwrap().answers, expected);
    }

    #[test]
    fn what_is_wrong_is_told() {
        let good = |field: &str, value: &str| {
            let fields = [
                ("url", r#""http://g""#),
                ("token", r#""env:T""#),
                ("secret", r#""env:S""#),
                ("listen", r#""127.0.0.1:1""#),
                ("answers", "[Mention]"),
            ];
            let fields =
                fields.map(|(name, usual)| format!("{name}: {}", if name == field { value } else { usual }));
            format!("({})", fields.join(", "))
        };
        let table = [
            ("url", r#""gitea.lan""#, "must be an address like"),
            ("url", r#""http://me:pass@gitea.lan""#, "without a name, a password"),
            ("token", r#""abc123""#, "a secret is not written into the settings"),
            ("secret", r#""""#, "a secret is not written into the settings"),
            ("listen", r#""9180""#, "an address and a port"),
            ("answers", "[]", "nothing is ever meant"),
            ("answers", r#"[Repository("site")]"#, "like Repository(\"owner/name\")"),
            ("answers", r#"[Label("")]"#, "needs a label's name"),
            ("answers", "[Everything]", "needs one of Mention"),
        ];
        for (field, value, said) in table {
            let faults = read(&good(field, value)).unwrap_err();
            assert!(faults.iter().any(|fault| fault.contains(said)), "{field} {value}: {faults:?}");
        }
    }
}
