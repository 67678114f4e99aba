//! `archond channel add nostr`: a key is made or taken over, the profile and the relays are published, the file is written.
use super::joining::{self, Joining, quoted, usage};
use crate::channels::nostr::{self, Tried};
use crate::cli::console::Console;
use crate::cli::error::CliError;
use crate::cli::exit::ExitCode;
use crate::cli::runtime;
use crate::settings::Platform;

/// What a new account is.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct AddNostr {
    /// Whose
    archon: String,
    /// A relay, like wss://relay.example.org: where people write to it, and where it is found
    #[arg(long = "relay", value_name = "URL", required = true)]
    relays: Vec<String>,
    /// Where its key is: `file:/PATH`, `env:VARIABLE` or `credential:NAME`; a new one is made if left out
    #[arg(long, value_name = "PLACE", conflicts_with = "import")]
    key: Option<String>,
    /// Ask for a key that it has already (`nsec1…`), and keep it
    #[arg(long)]
    import: bool,
    /// Its key stays with a remote signer (NIP-46): ask for the address that the signer gives, `bunker://…`
    #[arg(long, conflicts_with_all = ["key", "import"])]
    signer: bool,
    /// Who may say yes to what the Archon asks, by his key (`npub1…`)
    #[arg(long = "owner", value_name = "KEY")]
    owners: Vec<String>,
    /// Who may also write to it, by his key
    #[arg(long = "user", value_name = "KEY")]
    users: Vec<String>,
}

pub(super) fn add(console: &mut Console, args: &AddNostr) -> Result<ExitCode, CliError> {
    let mut joining = Joining::of(&args.archon, "nostr")?;
    joining.refuse_existing()?;
    let key = match (&args.key, args.import) {
        (Some(place), _) => place.parse().map_err(usage)?,
        (None, true) => joining.secret(console, "key", "paste the key, nsec1…", None)?,
        // With a remote signer it is only what that knows this house by.
        (None, false) => joining.keep_secret("key", &nostr::generate().0)?,
    };
    let signer = match args.signer {
        true => {
            Some(joining.secret(console, "signer", "paste the address of the signer, bunker://…", None)?)
        }
        false => None,
    };
    let added =
        join(console, &mut joining, args, (&key.to_string(), signer.map(|signer| signer.to_string())));
    if added.is_err() {
        // A key of one that could not be joined is known to nobody.
        joining.take_back()?;
    }
    added
}

fn join(
    console: &mut Console,
    joining: &mut Joining,
    args: &AddNostr,
    (key, signer): (&str, Option<String>),
) -> Result<ExitCode, CliError> {
    let owners = people(&args.owners)?;
    let users = people(&args.users)?;
    let text = text_of(joining, args, (key, signer.as_deref()), &joining::access(&owners, &users));
    let file = joining.parse(&text)?;
    let Platform::Nostr(settings) = &file.platform else { return Err(joining::other_platform()) };
    let wait = if args.signer { "asking the signer, and telling the relays" } else { "telling the relays" };
    console.progress(wait)?;
    let told = runtime()?.block_on(nostr::publish(settings));
    console.erase_progress()?;
    let told = told.map_err(joining::fails)?;
    if told.relays.iter().all(|relay| relay.outcome.is_err()) {
        return Err(joining::fails(format!("no relay took its profile:\n{}", lines(&told))));
    }
    joining.write(&text)?;
    console.line(&format!("{} is {}\n", joining.archon, told.npub))?;
    console.exact(&lines(&told))?;
    match signer {
        Some(signer) => {
            console.note(&format!("its key stays with the signer, whose address is in {signer}"))?
        }
        None => console.note(&format!("its key is in {key}: keep a copy, nobody can give it back"))?,
    }
    if owners.is_empty() {
        console.note(
            "nobody is its owner yet: write to it, it gives you a code, then `archond pairing approve CODE --owner`",
        )?;
    }
    joining.tell_next(console)?;
    Ok(ExitCode::Ok)
}

fn people(keys: &[String]) -> Result<Vec<(String, String)>, CliError> {
    let one = |key: &String| {
        Ok((nostr::person(key).map_err(|rule| usage(format!("`{key}` {rule}")))?, key.clone()))
    };
    keys.iter().map(one).collect()
}

fn lines(tried: &Tried) -> String {
    let line = |relay: &nostr::RelayTried| match &relay.outcome {
        Ok(time) => format!("{}  took it, in {} ms\n", relay.url, time.as_millis()),
        Err(why) => format!("{}  {why}\n", relay.url),
    };
    tried.relays.iter().map(line).collect()
}

fn text_of(joining: &Joining, args: &AddNostr, (key, signer): (&str, Option<&str>), access: &str) -> String {
    let signer = signer.map(|signer| format!("    signer: {},\n", quoted(signer))).unwrap_or_default();
    let relays = args.relays.iter().map(|relay| quoted(relay)).collect::<Vec<_>>().join(", ");
    format!(
        "(\n    key: {},\n{signer}    relays: [{relays}],\n    profile: (name: {}),\n\n{})\n",
        quoted(key),
        quoted(joining.archon.as_str()),
        access
    )
}
