//! `archond channel add gitea`: the account, the repositories, and exactly what to paste into Gitea.
use std::fmt::Write as _;
use std::io::Read as _;

use archond_actors::ports::ChannelFault;

use super::joining::{self, Joining, usage};
use crate::channels::gitea;
use crate::cli::console::Console;
use crate::cli::error::CliError;
use crate::cli::exit::ExitCode;
use crate::cli::runtime;
use crate::settings::Platform;

/// Bytes of a webhook's secret; twice as many characters.
const SECRET_BYTES: usize = 32;

/// What a new channel to a Gitea is.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct AddGitea {
    /// Whose
    archon: String,
    /// Where Gitea is, like http://gitea.lan:3000
    #[arg(long)]
    url: String,
    /// A repository in which the Archon listens, `owner/name`
    #[arg(long = "repository", value_name = "OWNER/NAME", required = true)]
    repositories: Vec<String>,
    /// Who may say yes to what the Archon asks, by his account's name
    #[arg(long = "owner", value_name = "ACCOUNT", required = true)]
    owners: Vec<String>,
    /// Who may also write to it, by his account's name
    #[arg(long = "user", value_name = "ACCOUNT")]
    users: Vec<String>,
    /// Where the token of the Archon's own account is: `file:/PATH` or `env:VARIABLE`; asked for if left out
    #[arg(long, value_name = "PLACE")]
    token: Option<String>,
    /// Where webhooks are listened for
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9180")]
    listen: String,
}

pub(super) fn add(console: &mut Console, args: &AddGitea) -> Result<ExitCode, CliError> {
    let mut joining = Joining::of(&args.archon, "gitea")?;
    joining.refuse_existing()?;
    let question = "paste an access token of the Archon's own account (Settings, Applications; read:user, read:repository, write:issue)";
    let token = joining.secret(console, "token", question, args.token.as_deref())?;
    let added = join(console, &mut joining, args, &token.to_string());
    if added.is_err() {
        // What was typed for one that does not work is of no use.
        joining.take_back()?;
    }
    added
}

fn join(
    console: &mut Console,
    joining: &mut Joining,
    args: &AddGitea,
    token: &str,
) -> Result<ExitCode, CliError> {
    let webhook = webhook_secret()?;
    let secret = joining.keep_secret("webhook", &webhook)?.to_string();
    // Names become numbers before anything is written; the file without them says how to ask.
    let first = joining.parse(&text_of(args, token, &secret, &Numbers::default()))?;
    let Platform::Gitea(settings) = &first.platform else { return Err(joining::other_platform()) };
    console.progress("asking Gitea")?;
    let asked = runtime()?.block_on(async {
        let probed = gitea::probe(settings).await?;
        let mut numbers = Numbers::default();
        for name in &args.repositories {
            numbers.repositories.push((gitea::repository(settings, name).await?, name.clone()));
        }
        for (names, found) in [(&args.owners, &mut numbers.owners), (&args.users, &mut numbers.users)] {
            for name in names {
                found.push((gitea::person(settings, name).await?, name.clone()));
            }
        }
        Ok::<_, ChannelFault>((probed, numbers))
    });
    console.erase_progress()?;
    let (probed, numbers) = asked.map_err(joining::fails)?;
    if let Some((_, name)) =
        numbers.owners.iter().chain(&numbers.users).find(|(id, _)| *id == probed.id.to_string())
    {
        return Err(usage(format!(
            "the token is {name}'s, who is to write to the Archon: it needs an account of its own, or it would talk with itself"
        )));
    }
    let text = text_of(args, token, &secret, &numbers);
    joining.parse(&text)?;
    joining.write(&text)?;
    console.line(&format!(
        "{} speaks as @{} on {} (Gitea {}).\n",
        joining.archon, probed.login, settings.url, probed.version
    ))?;
    console.exact(&to_paste(&settings.listen, &webhook))?;
    joining.tell_next(console)?;
    Ok(ExitCode::Ok)
}

/// Numbers, and the names that people know.
#[derive(Default)]
struct Numbers {
    repositories: Vec<(String, String)>,
    owners: Vec<(String, String)>,
    users: Vec<(String, String)>,
}

fn text_of(args: &AddGitea, token: &str, secret: &str, numbers: &Numbers) -> String {
    let mut text = String::from("(\n");
    for (name, value) in
        [("url", args.url.as_str()), ("token", token), ("secret", secret), ("listen", &args.listen)]
    {
        let _written = writeln!(text, "    {name}: {},", joining::quoted(value));
    }
    text += "\n    // What is meant for it: any of Mention, Assigned, ReviewRequested, Label(\"…\"), Repository(\"owner/name\").\n";
    text += "    answers: [Mention, Assigned, ReviewRequested],\n\n    // Who may write, and where: Gitea's numbers, since names can be taken by others.\n";
    text += "    access: Allowlist,\n";
    text += &joining::people("owners", &numbers.owners);
    text += &joining::people("users", &numbers.users);
    text += "    groups: [\n";
    for (id, name) in &numbers.repositories {
        let _written = writeln!(text, "        (id: {}), // {name}", joining::quoted(id));
    }
    text + "    ],\n)\n"
}

fn to_paste(listen: &std::net::SocketAddr, secret: &str) -> String {
    let network = if listen.ip().is_loopback() { "loopback" } else { "private" };
    format!(
        "In Gitea, in the settings of each repository (or of its organisation), Webhooks, Add webhook, Gitea:\n
    Target URL     http://{listen}/
    HTTP method    POST
    Content type   application/json
    Secret         {secret}
    Trigger on     Custom events: Issues, Issue assigned, Issue labelled, Issue comment,
                   Pull request, Pull request assigned, Pull request labelled,
                   Pull request comment, Pull request reviewed, Pull request review requested
    Active         yes

Gitea sends nothing to such an address before its app.ini says so:

    [webhook]
    ALLOWED_HOST_LIST = {network}

The Archon's account needs to be a collaborator of each repository, to read and to comment.\n\n"
    )
}

fn webhook_secret() -> Result<String, CliError> {
    let mut random = [0; SECRET_BYTES];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut random));
    read.map_err(|source| CliError::Input { source })?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}
