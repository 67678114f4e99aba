//! The file that says what an MCP server is and what it may do: `mcp/NAME.ron`. The fields are those that other programs have for it.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use archond_actors::domain::Risk;
use archond_models::remote::{Egress, EndpointFault, OwnUrl};

use super::fault::Fault;
use super::profile::duration;
use super::read_text;
use super::reader::{Group, Sheet, any};
use super::secret::KeyReference;
use super::tool_file::Word;

/// Longest name of a server, in bytes: it stands before the name of each of its tools.
const NAME_BYTES_MAX: usize = 24;
/// Time of one call, unless the file says otherwise.
const CALL_TIME: Duration = Duration::from_secs(120);
/// Longest time of one call that can be set.
const CALL_TIME_MAX: Duration = Duration::from_secs(3600);

/// What a file says of its server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct McpServer {
    /// Its name: the file's.
    pub name: String,
    /// How it is reached.
    pub way: ServerWay,
    /// What a call of its tools may do, where `risks` says nothing else.
    pub risk: Risk,
    /// The same of single tools, by the server's own name of each.
    pub risks: BTreeMap<String, Risk>,
    /// Whether its answers are the owner's own affair.
    pub reads_private: bool,
    /// Longest time of one call.
    pub time_max: Duration,
}

/// How a server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerWay {
    /// It is a program of this machine, which is started for each Archon.
    Program(ProgramServer),
    /// It runs already, here or on another machine.
    Http(HttpServer),
}

/// A server that is a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramServer {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Variables of its environment.
    pub env: Vec<(String, String)>,
    /// Variables of its environment that are secret, by where each is.
    pub secrets: Vec<(String, KeyReference)>,
    /// Folders and files that it may read, and run programs from.
    pub reads: Vec<PathBuf>,
    /// Folders that it may write, beside the Archon's workspace.
    pub writes: Vec<PathBuf>,
    /// Whether it may talk to other machines.
    pub network: bool,
}

/// A server that is reached by HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpServer {
    /// Where it is.
    pub url: OwnUrl,
    /// Where the key is that it wants to see.
    pub key: Option<KeyReference>,
    /// Further headers, by where the value of each is.
    pub headers: Vec<(String, KeyReference)>,
}

/// The name of a server's source of tools, in the tree and in policies.
pub fn source_name(server: &str) -> String {
    format!("mcp-{server}")
}

/// What is wrong with a server's name, if anything. No `_`, which parts it from the names of its tools.
pub fn name_fault(name: &str) -> Option<String> {
    let is_plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let is_good =
        is_plain && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.len() <= NAME_BYTES_MAX;
    (!is_good).then(|| {
        format!("a server needs a name of small letters and digits, at most {NAME_BYTES_MAX}, not `{name}`")
    })
}

/// Reads a server's file; answers all its faults when there is one.
pub fn read_mcp_file(path: &Path) -> Result<McpServer, Vec<Fault>> {
    let text = read_text(path).map_err(|fault| vec![fault])?;
    let text = text.ok_or_else(|| vec![Fault::of_file(path, "there is no such file")])?;
    read(path, text)
}

fn read(path: &Path, text: String) -> Result<McpServer, Vec<Fault>> {
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let sheet = Sheet::new(path, text);
    if let Some(fault) = name_fault(&name) {
        sheet.report(Fault::of_file(path, fault).with_hint("rename the file"));
    }
    let server = sheet.top().and_then(|mut top| {
        let program = program(&mut top);
        let http = http(&mut top);
        let way = match (program, http) {
            (Some(_), Some(_)) => {
                top.fault("url", "a server has a `command` or a `url`, not both", None);
                None
            }
            (Some(program), None) => Some(ServerWay::Program(program)),
            (None, Some(http)) => Some(ServerWay::Http(http)),
            (None, None) => None,
        };
        let by_default = match &way {
            Some(ServerWay::Program(program)) if !program.network => Word::Execute,
            _ => Word::Network,
        };
        let risk = top.value("risk", by_default, any).into();
        let risks = top.groups("tools").into_iter().filter_map(risk_of).collect();
        let reads_private = top.value("reads_private", true, any);
        let time_max = duration(&mut top, "time_max", CALL_TIME, Duration::from_secs(1), CALL_TIME_MAX);
        top.finish();
        Some(McpServer { name, way: way?, risk, risks, reads_private, time_max })
    });
    sheet.finish()?;
    let nothing = "says neither `command` nor `url`";
    let hint = "write what other programs have for this server: command: [\"node\", \"/opt/x/index.js\"]";
    server.ok_or_else(|| vec![Fault::of_file(path, nothing).with_hint(hint)])
}

fn program(top: &mut Group<'_>) -> Option<ProgramServer> {
    let words = |name, top: &mut Group<'_>| -> Vec<String> {
        top.list::<String>(name, &[], no_zero).into_iter().map(|word| word.value).collect()
    };
    let mut command = words("command", top);
    command.extend(words("args", top));
    let folders = |name, top: &mut Group<'_>| -> Vec<PathBuf> {
        top.list::<PathBuf>(name, &[], absolute).into_iter().map(|path| path.value).collect()
    };
    let env = top.list::<String>("env", &[], |text| pair(text).map(drop));
    let env = env.into_iter().filter_map(|text| pair(&text.value).ok()).collect();
    let secrets = references(top, "secrets");
    let (reads, writes) = (folders("reads", top), folders("writes", top));
    let network = top.value("network", false, any);
    let first = command.first()?;
    if first.contains('/') && !first.starts_with('/') {
        let message = format!("`command` needs a whole path or the name of a program, not `{first}`");
        top.fault("command", message, None);
    }
    Some(ProgramServer { command, env, secrets, reads, writes, network })
}

fn http(top: &mut Group<'_>) -> Option<HttpServer> {
    let egress = top.list::<String>("egress", &[], any);
    let egress: Egress = egress.into_iter().map(|host| host.value.to_ascii_lowercase()).collect();
    let read = |text: &Option<String>| match text {
        Some(text) => OwnUrl::parse(text, &egress).map(Some),
        None => Ok(None),
    };
    let text = top.value("url", None::<String>, |text| {
        read(text).map(drop).map_err(|fault: EndpointFault| fault.to_string())
    });
    let key = top.value("key", None::<String>, super::secret::is_reference);
    let headers = references(top, "headers");
    let url = read(&text).ok().flatten()?;
    if url.is_open_to_the_world() && (key.is_some() || !headers.is_empty()) {
        let message = format!("`key` and `headers` would be sent to {url} for everybody on the way to read");
        top.fault("url", message, Some("use an address with `https`".to_owned()));
    }
    Some(HttpServer { url, key: key.and_then(|text| text.parse().ok()), headers })
}

fn references(top: &mut Group<'_>, name: &'static str) -> Vec<(String, KeyReference)> {
    let read = |text: &str| -> Result<(String, KeyReference), String> {
        let (name, place) = pair(text)?;
        Ok((name, place.parse()?))
    };
    let written = top.list::<String>(name, &[], |text| read(text).map(drop));
    written.into_iter().filter_map(|text| read(&text.value).ok()).collect()
}

fn risk_of(mut group: Group<'_>) -> Option<(String, Risk)> {
    let name = group.required::<String>("name", "the tool's name, as the server calls it", any);
    let risk = group.required::<Word>("risk", "what a call of it may do", any);
    group.finish();
    Some((name?.value, risk?.value.into()))
}

/// `NAME=VALUE`.
fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| "needs `NAME=VALUE`".to_owned())?;
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"_-".contains(&b);
    if name.is_empty() || !name.bytes().all(is_plain) || value.contains('\0') {
        return Err("needs `NAME=VALUE`, with a name of letters, digits, `_` and `-`".to_owned());
    }
    Ok((name.to_owned(), value.to_owned()))
}

#[expect(clippy::ptr_arg, reason = "a check is given a reference to the setting's own type")]
fn no_zero(text: &String) -> Result<(), String> {
    if text.contains('\0') { Err("must not hold a zero byte".to_owned()) } else { Ok(()) }
}

#[expect(clippy::ptr_arg, reason = "a check is given a reference to the setting's own type")]
fn absolute(path: &PathBuf) -> Result<(), String> {
    if path.is_absolute() && path.parent().is_some() {
        return Ok(());
    }
    Err(format!("needs a whole path that is not `/`, not `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_as(text: &str) -> Result<McpServer, String> {
        read(Path::new("files.ron"), text.to_owned())
            .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn what_is_left_out_is_what_promises_least() {
        let server = read_as(r#"(command: ["node", "/opt/x.js"], args: ["."])"#).unwrap();
        let ServerWay::Program(program) = &server.way else { panic!("{server:?}") };
        assert_eq!(program.command, ["node", "/opt/x.js", "."]);
        assert!(!program.network && program.reads.is_empty() && program.writes.is_empty());
        assert_eq!((server.risk, server.reads_private, server.time_max), (Risk::Execute, true, CALL_TIME));
        let server = read_as(r#"(command: ["npx"], network: true)"#).unwrap();
        assert_eq!(server.risk, Risk::Network);
        let server = read_as(r#"(url: "http://127.0.0.1:3001/mcp", key: "env:KEY")"#).unwrap();
        let ServerWay::Http(http) = &server.way else { panic!("{server:?}") };
        assert_eq!(
            (http.url.to_string().as_str(), server.risk),
            ("http://127.0.0.1:3001/mcp", Risk::Network)
        );
    }

    #[test]
    fn everything_can_be_said() {
        let server = read_as(
            r#"(command: ["/opt/x"], env: ["A=b=c"], secrets: ["TOKEN=env:HOME_TOKEN", "K=file:/k"], reads: ["/opt"],
                writes: ["/data"], risk: Read, tools: [(name: "write", risk: Write)], reads_private: false, time_max: "5s")"#,
        )
        .unwrap();
        let ServerWay::Program(program) = &server.way else { panic!("{server:?}") };
        assert_eq!(program.env, [("A".to_owned(), "b=c".to_owned())]);
        assert_eq!(program.secrets[1], ("K".to_owned(), KeyReference::File("/k".into())));
        assert_eq!((server.risk, server.risks["write"]), (Risk::Read, Risk::Write));
    }

    #[test]
    fn every_fault_is_told() {
        for (text, wanted) in [
            ("()", "says neither `command` nor `url`"),
            (r#"(command: ["x"], url: "http://127.0.0.1/")"#, "not both"),
            (r#"(command: ["./x"])"#, "needs a whole path"),
            (r#"(url: "http://8.8.8.8/mcp")"#, "which is not in your own network"),
            (r#"(url: "http://169.254.169.254/")"#, "which is never asked"),
            (r#"(url: "http://8.8.8.8/", egress: ["8.8.8.8"], key: "env:K")"#, "for everybody on the way"),
            (r#"(command: ["x"], secrets: ["A=secret"])"#, "a secret is not written into the settings"),
            (r#"(command: ["x"], env: ["A"])"#, "needs `NAME=VALUE`"),
            (r#"(command: ["x"], reads: ["opt"])"#, "needs a whole path"),
            (r#"(command: ["x"], reads: ["/"])"#, "that is not `/`"),
            (r#"(command: ["x"], tools: [(name: "a")])"#, "`tools[0].risk` is missing"),
            (r#"(command: ["x"], speed: 3)"#, "unknown field `speed`"),
        ] {
            let faults = read_as(text).unwrap_err();
            assert!(faults.contains(wanted), "{text}: {faults}");
        }
        for name in ["a_b", "Files", "1a", ""] {
            assert!(name_fault(name).is_some(), "{name}");
        }
    }
}
