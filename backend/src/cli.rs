//! The command line.

use std::io::{BufRead, IsTerminal, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand};

use crate::api::time::rfc3339;
use crate::bench::Bench;
use crate::config::{Config, Overrides};
use crate::homer::MigrateHomer;
use crate::spool::inspect;
use crate::store::Bounds;
use crate::store::retention::{self, Expired};
use crate::telemetry::log;
use crate::{api, databases, memory, serve};

/// How long a backend may take to close a stream that it refuses.
const REFUSAL: std::time::Duration = std::time::Duration::from_secs(1);

/// SIP capture: takes HEP, stores it, and shows calls and sessions.
#[derive(Debug, Parser)]
#[command(name = "siplens", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take HEP, and serve engineers and customers, until stopped.
    Serve,
    /// Read the configuration as a start would, and say what is wrong with it.
    CheckConfig,
    /// Engineers who may log in.
    #[command(subcommand)]
    User(UserCommand),
    /// Keys that capture agents send with.
    #[command(subcommand)]
    AgentKey(AgentKeyCommand),
    /// What is kept, and for how long.
    #[command(subcommand)]
    Retention(RetentionCommand),
    /// What waits between ingest and store.
    #[command(subcommand)]
    Spool(SpoolCommand),
    /// Tokens for programs that use the API.
    #[command(subcommand)]
    Token(TokenCommand),
    MigrateHomer(MigrateHomer),
    /// Measure what this machine can take, with made-up calls.
    #[command(subcommand)]
    Bench(Bench),
    /// Print the API's OpenAPI document.
    Openapi,
}

#[derive(Debug, Subcommand)]
enum UserCommand {
    /// Add a user, who from then on must log in. The password is asked for.
    Add {
        /// Name to log in with.
        name: String,
        /// Read the password from standard input, one line.
        #[arg(long)]
        password_stdin: bool,
    },
    /// List all users.
    List,
    /// Remove a user.
    Remove {
        /// Name.
        name: String,
    },
}

#[derive(Debug, Subcommand)]
enum AgentKeyCommand {
    /// Make a key and print it: this once, it is not kept in clear. A running backend takes it within ten seconds.
    Add {
        /// What it is for.
        name: String,
        /// The capture agent's id; without it, any agent may use the key.
        #[arg(long)]
        agent_id: Option<u32>,
        /// Whose is what comes with the key: the name of one of [[tenants]] in the configuration.
        #[arg(long)]
        tenant: Option<String>,
        /// Read the key from standard input, one line of 16 to 255 characters, instead of making one.
        #[arg(long)]
        key_stdin: bool,
    },
    /// List all keys by name, with the agent and the tenant that each is for.
    List,
    /// Remove a key. A running backend refuses it within ten seconds.
    Remove {
        /// Name.
        name: String,
    },
}

#[derive(Debug, Subcommand)]
enum RetentionCommand {
    /// Show what would go now by the configuration, and delete nothing.
    Plan,
}

#[derive(Debug, Subcommand)]
enum SpoolCommand {
    /// Say what is in segment files, and change nothing. A backend may be running.
    Inspect {
        /// Segment files (.seg, .bad); without any, those of the data folder.
        files: Vec<PathBuf>,
    },
    /// Send the packets of segment files to a backend over TCP, also what is whole after damage. What it has already it
    /// then has twice.
    Replay {
        /// Where the backend takes HEP.
        #[arg(long, value_name = "ADDRESS:PORT")]
        to: SocketAddr,
        /// File with a key of that backend (`siplens agent-key add`), on its first line: keys are not kept in the spool, so one that
        /// requires them needs this. A key for any agent fits all packets.
        #[arg(long, value_name = "FILE")]
        key_file: Option<PathBuf>,
        /// Segment files (.seg, .bad).
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make a token and print it: this once, it is not kept in clear.
    Add {
        /// What it is for.
        name: String,
    },
    /// List all tokens by name.
    List,
    /// Remove a token.
    Remove {
        /// Name.
        name: String,
    },
}

#[derive(Args, Debug)]
struct Settings {
    /// Configuration file (TOML); without one, the defaults.
    #[arg(long, global = true, env = "SIPLENS_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder for the spool and the embedded store.
    #[arg(long, global = true, env = "SIPLENS_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where HEP is taken, UDP and TCP; port 0 picks a free one.
    #[arg(long, global = true, env = "SIPLENS_HEP_LISTEN", value_name = "ADDRESS:PORT")]
    hep_listen: Option<SocketAddr>,
    /// Where engineers' UI and API are served.
    #[arg(long, global = true, env = "SIPLENS_HTTP_LISTEN", value_name = "ADDRESS:PORT")]
    http_listen: Option<SocketAddr>,
    /// Where customer links are served.
    #[arg(long, global = true, env = "SIPLENS_CUSTOMER_LISTEN", value_name = "ADDRESS:PORT")]
    customer_listen: Option<SocketAddr>,
    /// PostgreSQL URL; "" for the embedded store.
    #[arg(long, global = true, env = "SIPLENS_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    database_url: Option<String>,
}

impl Cli {
    /// Runs the command to its end.
    ///
    /// # Errors
    /// What stopped it, for a person to read.
    pub fn run(self) -> Result<()> {
        if matches!(self.command, Command::Serve) {
            memory::begin_with_few_arenas();
        }
        if matches!(self.command, Command::Openapi) {
            return print(&api::openapi().to_pretty_json()?);
        }
        if let Command::Bench(bench) = self.command {
            return bench.run();
        }
        let Settings { config: path, data_dir, hep_listen, http_listen, customer_listen, database_url } =
            self.settings;
        let overrides = Overrides { data_dir, hep_listen, http_listen, customer_listen, database_url };
        let read = || Config::load(path.as_deref(), overrides.clone());
        let config = read()?;
        log::start(&config.log);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        match self.command {
            Command::Serve => runtime.block_on(serve::serve(&config, read)),
            Command::User(command) => runtime.block_on(user(&config, command)),
            Command::Retention(RetentionCommand::Plan) => runtime.block_on(retention_plan(&config)),
            Command::Spool(SpoolCommand::Inspect { files }) => inspect_spool(&config, files),
            Command::Spool(SpoolCommand::Replay { to, key_file, files }) => {
                replay_spool(to, key_file.as_deref(), &files)
            }
            Command::MigrateHomer(migration) => runtime.block_on(migration.run(&config)),
            Command::AgentKey(command) => runtime.block_on(agent_key(&config, command)),
            Command::Token(command) => runtime.block_on(token(&config, command)),
            Command::CheckConfig | Command::Openapi | Command::Bench(_) => {
                print("the configuration is valid")
            }
        }
    }
}

async fn user(config: &Config, command: UserCommand) -> Result<()> {
    let accounts = databases::accounts(config).await?;
    match command {
        UserCommand::Add { name, password_stdin } => {
            let password = read_password(password_stdin)?;
            accounts.add_user(&name, &password).await?;
            print(&format!("user {name} can log in"))
        }
        UserCommand::List => accounts.users().await?.iter().try_for_each(|user| print(&user.name)),
        UserCommand::Remove { name } => {
            ensure!(accounts.remove_user(&name).await?, "no user {name}");
            print(&format!("user {name} is removed"))
        }
    }
}

async fn token(config: &Config, command: TokenCommand) -> Result<()> {
    let accounts = databases::accounts(config).await?;
    match command {
        TokenCommand::Add { name } => print(&accounts.add_token(&name).await?),
        TokenCommand::List => accounts.tokens().await?.iter().try_for_each(|token| print(&token.name)),
        TokenCommand::Remove { name } => {
            ensure!(accounts.remove_token(&name).await?, "no token {name}");
            print(&format!("token {name} is removed"))
        }
    }
}

async fn agent_key(config: &Config, command: AgentKeyCommand) -> Result<()> {
    let accounts = databases::accounts(config).await?;
    match command {
        AgentKeyCommand::Add { name, agent_id, tenant, key_stdin } => {
            if let Some(tenant) = &tenant {
                let known = config.tenants.iter().any(|known| known.name == *tenant);
                ensure!(known, "no tenant {tenant}: expected one of [[tenants]] in the configuration");
            }
            let given = key_stdin.then(read_line).transpose()?;
            let told = given.is_some();
            let key = accounts.add_agent_key(&name, agent_id, tenant.as_deref(), given).await?;
            if told { print(&format!("agent key {name} is added")) } else { print(&key) }
        }
        AgentKeyCommand::List => accounts.agent_keys().await?.iter().try_for_each(|key| {
            let agent = key.agent_id.map_or_else(|| "any agent".to_owned(), |id| format!("agent {id}"));
            let tenant = key.tenant.as_ref().map_or_else(String::new, |tenant| format!("  tenant {tenant}"));
            print(&format!("{}  {agent}{tenant}", key.name))
        }),
        AgentKeyCommand::Remove { name } => {
            ensure!(accounts.remove_agent_key(&name).await?, "no agent key {name}");
            print(&format!("agent key {name} is removed"))
        }
    }
}

async fn retention_plan(config: &Config) -> Result<()> {
    let store = databases::store(config).await?;
    let retention = config.retention.rules();
    let plan = retention::plan(&*store, &retention).await?;
    for expired in &plan.expired {
        let newest = expired.newest_us.map_or_else(|| "no message".to_owned(), rfc3339);
        let Expired { name, rule, bytes, reason, .. } = expired;
        print(&format!("{name}  rule {rule}  until {newest}  {bytes} octets  {}", reason.as_str()))?;
    }
    let bytes: u64 = plan.expired.iter().map(|expired| expired.bytes).sum();
    print(&format!("{bytes} of {} octets would go", plan.store_bytes))?;
    for (rule, bytes) in &plan.rules {
        let Bounds { age_us, bytes: most } = retention.bounds(rule);
        let age =
            age_us.map_or_else(|| "for ever".to_owned(), |us| format!("for {} hours", us / 3_600_000_000));
        let size = most.map_or_else(String::new, |most| format!(", {most} at most"));
        print(&format!("rule {rule}  {bytes} octets, kept {age}{size}"))?;
    }
    plan.disk_free_bytes.map_or(Ok(()), |free| print(&format!("{free} octets of the disk are free")))
}

fn inspect_spool(config: &Config, mut files: Vec<PathBuf>) -> Result<()> {
    if files.is_empty() {
        files = inspect::segments(&databases::data_dir(config)?.join("spool"))?;
    }
    for file in &files {
        let segment = inspect::inspect(file)?;
        let mut line =
            format!("{}  {} octets  {} records", file.display(), segment.bytes, segment.records.len());
        if let (Some(first), Some(last)) = (segment.records.first(), segment.records.last()) {
            line.push_str(&format!(
                "  {} to {}",
                rfc3339(first.received_at_us),
                rfc3339(last.received_at_us)
            ));
        }
        if !segment.streams.is_empty() || segment.numbered > 0 {
            let (numbered, streams) = (segment.numbered, segment.streams.len());
            line.push_str(&format!("  {numbered} numbered, {streams} streams before"));
        }
        if !segment.has_header {
            line.push_str("  damaged header");
        }
        if segment.skipped_bytes > 0 {
            line.push_str(&format!("  {} octets damaged or cut", segment.skipped_bytes));
        }
        print(&line)?;
    }
    Ok(())
}

fn replay_spool(to: SocketAddr, key_file: Option<&Path>, files: &[PathBuf]) -> Result<()> {
    let key = key_file.map(read_key).transpose()?;
    let stream = std::net::TcpStream::connect(to).with_context(|| to.to_string())?;
    let mut stream = std::io::BufWriter::new(stream);
    for file in files {
        let segment = inspect::inspect(file)?;
        let packets: Vec<_> =
            segment.records.iter().filter_map(|record| record.for_stream(key.as_deref())).collect();
        for packet in &packets {
            stream.write_all(packet).with_context(|| to.to_string())?;
        }
        stream.flush().with_context(|| to.to_string())?;
        let left = segment.records.len() - packets.len();
        let left = match (left, &key) {
            (0, _) => String::new(),
            (left, None) => format!(", {left} that are no HEP left out"),
            (left, Some(_)) => format!(", {left} that are no HEP or too long for a key left out"),
        };
        print(&format!("{}  {} packets sent{left}", file.display(), packets.len()))?;
    }
    all_taken(stream.into_inner()?).with_context(|| to.to_string())
}

/// Waits until the backend has read all. It closes the stream of whom it does not let in, and keeps that of others open
/// until we end it.
fn all_taken(mut stream: std::net::TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(REFUSAL))?;
    let mut answer = [0; 4096];
    loop {
        match stream.read(&mut answer) {
            // Acknowledgements of packets that are numbered.
            Ok(octets) if octets > 0 => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
            Ok(_) | Err(_) => anyhow::bail!(
                "the backend closed the stream: may this machine send to it, and does it require a key (--key-file)?"
            ),
        }
    }
    stream.shutdown(std::net::Shutdown::Write)?;
    stream.set_read_timeout(None)?;
    while stream.read(&mut answer)? > 0 {}
    Ok(())
}

fn read_key(file: &Path) -> Result<Vec<u8>> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let key = text.lines().next().unwrap_or_default();
    ensure!(!key.is_empty(), "{}: expected a key, found nothing", file.display());
    Ok(key.as_bytes().to_vec())
}

fn read_line() -> Result<String> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("standard input")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn read_password(from_stdin: bool) -> Result<String> {
    if from_stdin || !std::io::stdin().is_terminal() {
        return read_line();
    }
    let password = rpassword::prompt_password("Password: ")?;
    ensure!(password == rpassword::prompt_password("Once more: ")?, "the two passwords differ");
    Ok(password)
}

/// Prints a line to standard output. A closed pipe is not an error.
pub fn print(line: &str) -> Result<()> {
    match writeln!(std::io::stdout().lock(), "{line}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error).context("standard output"),
        _ => Ok(()),
    }
}
