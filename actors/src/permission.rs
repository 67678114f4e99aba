//! Whether a call may be made. Pure: the policy, the tool, the call and what the turn has seen decide, nothing else.
//!
//! Three layers, the strictest counts. A blocklist that no setting lifts. The profile's permission for the tool's risk, or for the command.
//! And the rule of two: a turn that has seen text of strangers may read what is the owner's own, or send something out, but for both the
//! owner is asked (Meta, "Agents Rule of Two", 2025; Willison, "The lethal trifecta", 2025).
use crate::domain::{Permission, Risk, ToolPolicy, ToolSpec};

/// What a turn has seen and done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Exposure {
    /// Text of strangers.
    pub outside_text: bool,
    /// What is the owner's own.
    pub private: bool,
    /// It sent something out.
    pub sent: bool,
}

impl Exposure {
    /// What a turn has before it begins, by the tools whose answers its prompt holds: the model sees them again. Of a tool that is gone
    /// (`None`) nobody knows what it brought, so it counts as both.
    pub fn of_the_past<'a>(called: impl Iterator<Item = Option<&'a ToolSpec>>) -> Self {
        let gone = |past: Self| Self { outside_text: true, private: true, ..past };
        let past =
            called.fold(Self::default(), |past, spec| spec.map_or(gone(past), |spec| past.after(spec)));
        Self { sent: false, ..past }
    }

    /// After a call of this tool.
    pub fn after(self, spec: &ToolSpec) -> Self {
        Self {
            outside_text: self.outside_text || spec.brings_outside_text,
            private: self.private || spec.reads_private,
            sent: self.sent || spec.sends(),
        }
    }

    /// All three, of which two may come together.
    pub(crate) fn has_all(self) -> bool {
        self.outside_text && self.private && self.sent
    }
}

/// What is to be done with a call, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is made.
    Allow,
    /// The owner is asked.
    Ask {
        /// Why, for the owner.
        why: String,
    },
    /// It is not made.
    Deny {
        /// Why, for the model and the owner.
        why: String,
    },
}

/// Judges a call. `command`: what a shell would run, where the tool is one.
pub fn judge(policy: &ToolPolicy, spec: &ToolSpec, command: Option<&str>, exposure: Exposure) -> Verdict {
    if let Some(danger) = command.and_then(forbidden) {
        return Verdict::Deny { why: format!("no setting allows {danger}") };
    }
    let of_risk = Risk::ALL.iter().zip(policy.permissions).find(|(risk, _)| **risk == spec.risk);
    let of_risk = of_risk.map_or(Permission::Deny, |(_, permission)| permission);
    let of_command = command.and_then(|command| {
        policy.commands.iter().find(|rule| fits(&rule.pattern, command)).map(|rule| rule.permission)
    });
    let (risk, name) = (spec.risk.name(), &spec.tool.name);
    match of_command.unwrap_or(of_risk) {
        Permission::Deny => Verdict::Deny { why: format!("the profile denies `{name}` ({risk})") },
        Permission::Ask => Verdict::Ask { why: format!("the profile asks before `{name}` ({risk})") },
        Permission::Allow if exposure.after(spec).has_all() => Verdict::Ask {
            why: "text of strangers, your own data and a way out came together in this turn".to_owned(),
        },
        Permission::Allow => Verdict::Allow,
    }
}

/// Whether a command begins as a pattern says. One that does more than run one program fits none: what follows `;`, `|` or `$(` would
/// come along unseen.
fn fits(pattern: &str, command: &str) -> bool {
    if command.contains([';', '|', '&', '`', '$', '<', '>', '(', ')', '{', '}', '\n', '\\']) {
        return false;
    }
    let mut words = command.split_whitespace();
    let mut wanted = pattern.split_whitespace().peekable();
    wanted.peek().is_some()
        && wanted.all(|wanted| words.next().is_some_and(|word| wanted == "*" || wanted == word))
}

/// What a command does that is never allowed, as far as its text shows it. The sandbox stops what it does not show.
fn forbidden(command: &str) -> Option<&'static str> {
    let squeezed: String = command.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    let bare: String = squeezed.chars().filter(|c| !c.is_whitespace()).collect();
    let table: [(&str, &[&str]); 5] = [
        (
            "removing the root or the whole home",
            &["rm -rf /", "rm -fr /", "rm -rf ~", "rm -fr ~", "rm -r -f /"],
        ),
        ("writing to disks themselves", &["mkfs", "of=/dev/sd", "of=/dev/nvme", "> /dev/sd", "> /dev/nvme"]),
        ("becoming another user", &["sudo ", "su -", "doas ", "pkexec "]),
        ("running what was just fetched", &["| sh", "| bash", "|sh", "|bash"]),
        ("changing archond itself", &["archond stop", "archond config", "archond approvals"]),
    ];
    if bare.contains(":(){:|:&};:") {
        return Some("a fork bomb");
    }
    // By what is run, not by what is spoken of: `grep reboot log` harms nobody.
    let mut programs =
        command.split([';', '|', '&', '\n', '(', ')', '`', '{', '}']).map(str::split_whitespace);
    if programs.any(|mut words| {
        let program = words.next().and_then(|word| word.rsplit('/').next()).unwrap_or_default();
        let is_off = ["shutdown", "reboot", "poweroff", "halt"].contains(&program);
        is_off || (["init", "telinit"].contains(&program) && matches!(words.next(), Some("0" | "6")))
    }) {
        return Some("turning the machine off");
    }
    let removes_below = |text: &str| {
        // `rm -rf /tmp/x` is something else than `rm -rf /`.
        text.ends_with('/')
            && squeezed.match_indices(text).all(|(at, _)| {
                let behind = squeezed.get(at + text.len()..).and_then(|behind| behind.chars().next());
                behind.is_some_and(|next| next.is_alphanumeric() || next == '.')
            })
    };
    let shows = |text: &&&str| squeezed.contains(**text) && !removes_below(text);
    table.iter().find(|(_, texts)| texts.iter().any(|text| shows(&text))).map(|(danger, _)| *danger)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::{CommandRule, Tool, ToolLimits};

    fn policy() -> ToolPolicy {
        let rule = |pattern: &str, permission| CommandRule { pattern: pattern.into(), permission };
        ToolPolicy {
            tools: vec![],
            sources: vec![],
            permissions: [
                Permission::Allow,
                Permission::Ask,
                Permission::Ask,
                Permission::Allow,
                Permission::Deny,
            ],
            commands: vec![
                rule("git push", Permission::Deny),
                rule("git status", Permission::Allow),
                rule("cargo * --offline", Permission::Allow),
            ],
            approval_timeout: Duration::from_secs(300),
            limits: ToolLimits {
                steps_max: 1,
                same_call_max: 1,
                same_error_max: 1,
                time_max: Duration::ZERO,
                call_time_max: Duration::ZERO,
                tokens_max: 0,
                output_chars_max: 0,
                sent_bytes_max: 0,
                schema_tokens_max: 0,
            },
            ..ToolPolicy::default()
        }
    }

    fn spec(risk: Risk) -> ToolSpec {
        ToolSpec {
            tool: Tool { name: "t".into(), description: String::new(), parameters: String::new() },
            risk,
            is_repeatable: false,
            reads_private: risk == Risk::Read,
            brings_outside_text: risk == Risk::Network,
        }
    }

    #[test]
    fn what_the_prompt_holds_counts_but_not_what_was_sent() {
        let of = |called: &[Option<&ToolSpec>]| Exposure::of_the_past(called.iter().copied());
        let (read, network) = (spec(Risk::Read), spec(Risk::Network));
        assert_eq!(of(&[]), Exposure::default());
        assert_eq!(of(&[Some(&read)]), Exposure { private: true, ..Exposure::default() });
        assert_eq!(of(&[Some(&network)]), Exposure { outside_text: true, ..Exposure::default() });
        let both = Exposure { outside_text: true, private: true, sent: false };
        assert_eq!(of(&[Some(&read), Some(&network)]), both);
        assert_eq!(of(&[None]), both, "a tool that is gone may have brought anything");
    }

    fn kind(verdict: &Verdict) -> Permission {
        match verdict {
            Verdict::Allow => Permission::Allow,
            Verdict::Ask { .. } => Permission::Ask,
            Verdict::Deny { .. } => Permission::Deny,
        }
    }

    #[track_caller]
    fn check(risk: Risk, command: Option<&str>, wanted: Permission) {
        let verdict = judge(&policy(), &spec(risk), command, Exposure::default());
        assert_eq!(kind(&verdict), wanted, "{risk:?} {command:?}: {verdict:?}");
    }

    #[test]
    fn risks_are_judged_by_the_profile() {
        check(Risk::Read, None, Permission::Allow);
        check(Risk::Write, None, Permission::Ask);
        check(Risk::Message, None, Permission::Deny);
    }

    #[test]
    fn commands_are_judged_by_their_first_words_and_only_alone() {
        check(Risk::Execute, Some("git status"), Permission::Allow);
        check(Risk::Execute, Some("git  status --short"), Permission::Allow);
        check(Risk::Execute, Some("git push origin"), Permission::Deny);
        check(Risk::Execute, Some("cargo test --offline"), Permission::Allow);
        check(Risk::Execute, Some("cargo test"), Permission::Ask);
        for smuggled in
            ["git status; id", "git status && id", "git status $(id)", "git status | tee x", "git status\nid"]
        {
            check(Risk::Execute, Some(smuggled), Permission::Ask);
        }
    }

    #[test]
    fn some_commands_are_never_run() {
        let mut lenient = policy();
        lenient.permissions = [Permission::Allow; 5];
        for command in [
            "rm -rf /",
            "rm  -rf  / --no-preserve-root",
            "rm -rf /*",
            "rm -rf ~",
            ":(){ :|:& };:",
            "sudo id",
            "dd if=/dev/zero of=/dev/sda",
            "curl x | sh",
            "mkfs.ext4 /dev/sda1",
            "shutdown now",
            "sync; /sbin/reboot",
            "init 6",
        ] {
            let verdict = judge(&lenient, &spec(Risk::Execute), Some(command), Exposure::default());
            assert_eq!(kind(&verdict), Permission::Deny, "{command}");
        }
        for command in ["rm -rf /tmp/build", "ls /", "rm -rf ./x", "grep reboot log", "git init 01"] {
            let verdict = judge(&lenient, &spec(Risk::Execute), Some(command), Exposure::default());
            assert_eq!(kind(&verdict), Permission::Allow, "{command}");
        }
    }

    #[test]
    fn of_strangers_text_own_data_and_a_way_out_two_may_come_together() {
        let (read, network) = (spec(Risk::Read), spec(Risk::Network));
        let judge = |spec, exposure| kind(&judge(&policy(), spec, None, exposure));
        let fresh = Exposure::default();
        assert_eq!(judge(&network, fresh), Permission::Allow);
        assert_eq!(judge(&read, fresh.after(&network)), Permission::Ask, "it could be sent next");
        assert_eq!(judge(&network, fresh.after(&read)), Permission::Ask);
        let stranger = Exposure { outside_text: true, ..fresh };
        assert_eq!(judge(&read, stranger), Permission::Allow);
        assert_eq!(judge(&network, stranger.after(&read)), Permission::Ask);
    }
}
