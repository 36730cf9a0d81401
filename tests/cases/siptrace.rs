//! A configuration that was written for siptrace: each of its parameters means what it meant, or is refused with a line
//! that says what to do.

use anyhow::{Context, Result, ensure};
use harness::{Kamailio, Proxy, Setup, kamailio};

/// What becomes of a parameter.
enum Outcome {
    /// It is taken, with this value.
    Accepted(&'static str),
    /// It is refused with any value, such as this one; the line has these words.
    Refused(&'static str, &'static str),
    /// It is taken with the first value, and refused with the second; the line has these words.
    Only(&'static str, &'static str, &'static str),
}

use Outcome::{Accepted, Only, Refused};

/// Every parameter of siptrace in Kamailio 5.6, 6.0 and 6.1.
const PARAMETERS: [(&str, Outcome); 39] = [
    ("auth_key", Accepted("\"key\"")),
    ("callid_column", Refused("\"callid\"", "no database")),
    ("data_mode", Only("1", "2", "expected 0 or 1")),
    ("date_column", Refused("\"date\"", "no database")),
    ("db_url", Refused("\"mysql://kamailio@localhost/kamailio\"", "duplicate_uri")),
    ("direction_column", Refused("\"direction\"", "no database")),
    ("duplicate_uri", Accepted("\"sip:127.0.0.1:9060\"")),
    ("evcb_msg", Refused("\"ksr_siptrace_msg\"", "event_route[siplens:msg]")),
    ("force_send_sock", Refused("\"sip:127.0.0.1:5000\"", "a socket of the sender")),
    ("fromip_column", Refused("\"fromip\"", "no database")),
    ("fromtag_column", Refused("\"fromtag\"", "no database")),
    ("hep_capture_id", Accepted("234")),
    ("hep_mode_on", Only("1", "0", "always leave as HEP")),
    ("hep_version", Only("3", "2", "expected 3")),
    ("method_column", Refused("\"method\"", "no database")),
    ("msg_column", Refused("\"msg\"", "no database")),
    ("send_sock_addr", Refused("\"sip:127.0.0.1:5000\"", "a socket of the sender")),
    ("send_sock_name", Refused("\"sock1\"", "a socket of the sender")),
    ("status_column", Refused("\"status\"", "no database")),
    ("table", Refused("\"sip_trace\"", "no database")),
    ("toip_column", Refused("\"toip\"", "no database")),
    ("totag_column", Refused("\"totag\"", "no database")),
    ("trace_db_mode", Refused("1", "no database")),
    ("trace_delayed", Refused("1", "no database")),
    ("trace_dialog_ack", Only("1", "0", "trace_method")),
    ("trace_dialog_spiral", Only("1", "0", "followed like any other")),
    ("trace_ephemeral_socket", Only("1", "0", "own port is always reported")),
    ("trace_flag", Only("22", "32", "0 to 31")),
    ("trace_init_mode", Only("2", "3", "0, 1 or 2")),
    ("trace_local_ip", Refused("\"10.1.1.1:5064\"", "set data_mode to 1")),
    ("trace_mode", Only("0", "3", "0 or 1")),
    ("trace_on", Only("1", "2", "0 or 1")),
    ("trace_sl_acks", Only("1", "0", "trace_method")),
    ("trace_table_avp", Refused("\"$avp(table)\"", "no database")),
    ("trace_to_database", Only("0", "1", "no database")),
    ("traced_user_avp", Refused("\"$avp(user)\"", "call sip_trace()")),
    ("traced_user_column", Refused("\"traced_user\"", "no database")),
    ("xheaders_read", Only("0", "1", "HEP carries")),
    ("xheaders_write", Only("0", "1", "never changed")),
];

fn setup(parameters: &str) -> Result<Setup> {
    let setup = Setup::case("script", "127.0.0.1:9".parse()?, "sip:127.0.0.1:9".to_owned());
    Ok(setup.define("NO_COLLECTOR", "yes").define_bare("PARAMETERS", parameters))
}

fn line(name: &str, value: &str) -> String {
    format!("modparam(\"siplens\", \"{name}\", {value})\n")
}

#[test]
fn every_parameter_of_siptrace_that_is_refused_says_what_to_do() -> Result<()> {
    for (name, outcome) in &PARAMETERS {
        let (Refused(value, said) | Only(_, value, said)) = outcome else { continue };
        let log = kamailio::refusal(&setup(&line(name, value))?)?;
        let ours: Vec<_> = log.lines().filter(|line| line.contains("siplens_log")).collect();
        ensure!(ours.len() == 1, "{name} = {value}: {} lines: {ours:#?}", ours.len());
        ensure!(ours[0].contains(name) && ours[0].contains(said), "{name} = {value}: {}", ours[0]);
        ensure!(!log.contains("not found in module"), "{name} = {value}: Kamailio does not know it");
    }
    Ok(())
}

#[test]
fn all_parameters_of_siptrace_that_are_taken_start_together() -> Result<()> {
    let taken = PARAMETERS.iter().filter_map(|(name, outcome)| match outcome {
        Accepted(value) | Only(value, ..) => Some(line(name, value)),
        Refused(..) => None,
    });
    let mut proxy = Kamailio::start(&setup(&taken.collect::<String>())?)?;
    let stats = proxy.stats()?;
    ensure!(stats.get("enabled").context("enabled")? == &1);
    Ok(())
}
