//! The text of the messages: each kind, for each maker of telephones, once as a whole; to make a message is to copy it
//! and to write the dialog's names at their places, which all have a fixed width.

use std::net::{Ipv4Addr, SocketAddr};

use super::traffic::{Random, mix};

/// What a message is, by its name in SIP.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    Invite,
    Trying,
    Ringing,
    Answer,
    Ack,
    Bye,
    ByeOk,
    Busy,
    Unavailable,
    NotFound,
    ServerError,
    Declined,
    Cancel,
    CancelOk,
    Terminated,
    AckOfFailure,
    Register,
    Challenge,
    RegisterWithDigest,
    Registered,
    Options,
    OptionsOk,
}

/// All forms, in the order of the enumeration.
const FORMS: [Form; 22] = [
    Form::Invite,
    Form::Trying,
    Form::Ringing,
    Form::Answer,
    Form::Ack,
    Form::Bye,
    Form::ByeOk,
    Form::Busy,
    Form::Unavailable,
    Form::NotFound,
    Form::ServerError,
    Form::Declined,
    Form::Cancel,
    Form::CancelOk,
    Form::Terminated,
    Form::AckOfFailure,
    Form::Register,
    Form::Challenge,
    Form::RegisterWithDigest,
    Form::Registered,
    Form::Options,
    Form::OptionsOk,
];

/// What differs between makers: User-Agent, what is allowed and supported, a header of its own.
const MAKERS: [(&str, &str, &str, &str); 6] = [
    (
        "Yealink SIP-T46U 108.86.0.90",
        "INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, MESSAGE, SUBSCRIBE, INFO, UPDATE, PRACK",
        "replaces, 100rel, timer",
        "Allow-Events: talk,hold,conference,refer,check-sync\r\n",
    ),
    (
        "PolycomVVX-VVX_411-UA/5.9.7.3480",
        "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, MESSAGE, SUBSCRIBE, NOTIFY, PRACK, UPDATE, REFER",
        "100rel,replaces",
        "Accept-Language: en\r\n",
    ),
    (
        "snomD785/10.1.101.11",
        "INVITE, ACK, CANCEL, BYE, REFER, OPTIONS, NOTIFY, SUBSCRIBE, PRACK, MESSAGE, INFO, UPDATE",
        "timer, 100rel, replaces, from-change",
        "X-Serialnumber: 000413A1B2C3\r\n",
    ),
    (
        "Linphone-Desktop/5.2.4 (Debian) LinphoneCore/5.3.26",
        "INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, MESSAGE, SUBSCRIBE, INFO, PRACK, UPDATE",
        "replaces, outbound, gruu, path, record-aware",
        "",
    ),
    (
        "Asterisk PBX 20.5.2",
        "OPTIONS, REGISTER, SUBSCRIBE, NOTIFY, PUBLISH, INVITE, ACK, BYE, CANCEL, UPDATE, PRACK, INFO, MESSAGE, REFER",
        "100rel, timer, replaces, norefersub, histinfo",
        "Session-Expires: 1800\r\nMin-SE: 90\r\n",
    ),
    (
        "Grandstream GXP2170 1.0.11.79",
        "INVITE, ACK, OPTIONS, CANCEL, BYE, SUBSCRIBE, NOTIFY, INFO, REFER, UPDATE, MESSAGE",
        "replaces, path, timer, eventlist",
        "P-Early-Media: Supported\r\n",
    ),
];

const PROXIES: u64 = 4;
const HOT_USERS: u32 = 200;
const COLD_USERS: u32 = 100_000;

/// Marks a session of many calls.
const LARGE: u64 = 1 << 63;

/// The name of a call or of a session: 32 characters.
pub type Id = [u8; 32];

/// Who speaks to whom in a dialog; all its texts are made of these few numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Names {
    call: u64,
    session: u64,
    caller: u32,
    callee: u32,
}

impl Names {
    /// A dialog of its own, between two users; every twentieth user is one of 200 that are busy.
    pub fn new(random: &mut Random) -> Self {
        let call = random.next() & !LARGE;
        let mut user = || {
            if random.between(0, 19) == 0 {
                random.between(0, HOT_USERS - 1)
            } else {
                HOT_USERS + random.between(0, COLD_USERS - 1)
            }
        };
        Self { call, session: call, caller: user(), callee: user() }
    }

    /// Another dialog of the same session and the same users.
    pub fn second_leg(&self, random: &mut Random) -> Self {
        Self { call: random.next() & !LARGE, ..*self }
    }

    /// The same in a session of many calls.
    pub fn in_large_session(self, session: u64) -> Self {
        Self { session: session | LARGE, ..self }
    }

    /// The same between two servers that ask each other whether they live.
    pub fn of_a_trunk(self) -> Self {
        Self { caller: self.caller % HOT_USERS, callee: self.caller % HOT_USERS, ..self }
    }

    /// Whether its session has many calls.
    pub const fn is_in_large_session(&self) -> bool {
        self.session & LARGE != 0
    }

    /// The Call-ID.
    pub fn call_id(&self) -> Id {
        id_of(self.call)
    }

    /// The correlation id: the Call-ID of the session's first leg, or the name of a large session.
    pub fn correlation_id(&self) -> Id {
        if !self.is_in_large_session() {
            return id_of(self.session);
        }
        let mut id = *b"conference-room-................";
        put_hex(&mut id[16..], self.session);
        id
    }

    /// The user of From.
    pub fn caller(&self) -> [u8; 11] {
        number(self.caller)
    }

    /// Whether the caller is one of those with many calls.
    pub const fn is_hot(&self) -> bool {
        self.caller < HOT_USERS
    }

    /// Where the caller's telephone is.
    pub fn host(&self) -> Ipv4Addr {
        host(self.caller)
    }

    /// Which proxy saw it; also its agent's place.
    pub fn proxy(&self) -> usize {
        usize::try_from(mix(self.session ^ 0x70) % PROXIES).unwrap_or(0)
    }

    /// Its address.
    pub fn proxy_host(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 250, 100, 101 + u8::try_from(self.proxy()).unwrap_or(0))
    }

    fn maker(&self) -> usize {
        usize::try_from(mix(u64::from(self.caller)) % MAKERS.len() as u64).unwrap_or(0)
    }

    /// Source and destination of a message, and the capture agent's id.
    pub fn way(&self, form: Form) -> (SocketAddr, SocketAddr, u32) {
        let client = SocketAddr::new(self.host().into(), 5060);
        let proxy = SocketAddr::new(self.proxy_host().into(), 5060);
        let agent = 2001 + u32::try_from(self.proxy()).unwrap_or(0);
        if form.is_from_caller() { (client, proxy, agent) } else { (proxy, client, agent) }
    }
}

/// The address of a user's telephone: every octet but the first has three digits.
fn host(user: u32) -> Ipv4Addr {
    let octet = |number: u32| 100 + u8::try_from(number % 100).unwrap_or(0);
    Ipv4Addr::new(10, octet(user / 10_000), octet(user / 100), octet(user))
}

fn number(user: u32) -> [u8; 11] {
    let mut digits = *b"49300000000";
    put_decimal(&mut digits[4..], u64::from(user));
    digits
}

fn id_of(call: u64) -> Id {
    let mut id = *b"................@10.100.100.100.";
    put_hex(&mut id[..16], mix(call));
    if call & 1 == 0 {
        put_hex(&mut id[16..], mix(call ^ 0x1d));
    } else {
        // The maker's way: a number, and the host it was made on.
        let host = mix(call ^ 0x1d);
        for (place, at) in [20, 24, 28].into_iter().enumerate() {
            put_decimal(&mut id[at + 1..at + 3], (host >> (8 * place)) % 100);
        }
        id[31] = b'0' + u8::try_from(host % 10).unwrap_or(0);
    }
    id
}

fn put_hex(to: &mut [u8], number: u64) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (place, octet) in to.iter_mut().enumerate().take(16) {
        *octet = DIGITS[usize::try_from((number >> (60 - 4 * place)) & 15).unwrap_or(0)];
    }
}

fn put_decimal(to: &mut [u8], mut number: u64) {
    for octet in to.iter_mut().rev() {
        *octet = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

/// What is written into a text, by the letter that stands for it there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Field {
    CallId,
    Caller,
    Callee,
    Host,
    Proxy,
    FromTag,
    ToTag,
    Branch,
    Nonce,
    Response,
    Session,
    Port,
}

const FIELDS: [(char, Field, usize); 12] = [
    ('c', Field::CallId, 32),
    ('u', Field::Caller, 11),
    ('v', Field::Callee, 11),
    ('h', Field::Host, 14),
    ('p', Field::Proxy, 14),
    ('f', Field::FromTag, 8),
    ('t', Field::ToTag, 8),
    ('b', Field::Branch, 16),
    ('n', Field::Nonce, 32),
    ('r', Field::Response, 32),
    ('o', Field::Session, 10),
    ('m', Field::Port, 5),
];

const SDP: &str = "v=0\r\no=- {o} {o} IN IP4 {h}\r\ns=call\r\nc=IN IP4 {h}\r\nt=0 0\r\nm=audio {m} RTP/AVP 9 8 0 18 101\r\n\
    a=rtpmap:9 G722/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:18 G729/8000\r\na=fmtp:18 annexb=no\r\n\
    a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n";

impl Form {
    const fn is_from_caller(self) -> bool {
        matches!(
            self,
            Self::Invite
                | Self::Ack
                | Self::Bye
                | Self::Cancel
                | Self::AckOfFailure
                | Self::Register
                | Self::RegisterWithDigest
                | Self::Options
        )
    }

    /// First line, and method and number of CSeq.
    const fn lines(self) -> (&'static str, &'static str) {
        const REGISTRAR: &str = "REGISTER sip:voice.example.net SIP/2.0";
        match self {
            Self::Invite => ("INVITE sip:{v}@voice.example.net;user=phone SIP/2.0", "1 INVITE"),
            Self::Trying => ("SIP/2.0 100 Trying", "1 INVITE"),
            Self::Ringing => ("SIP/2.0 180 Ringing", "1 INVITE"),
            Self::Answer => ("SIP/2.0 200 OK", "1 INVITE"),
            Self::Ack => ("ACK sip:{v}@{p}:5060;transport=udp SIP/2.0", "1 ACK"),
            Self::Bye => ("BYE sip:{v}@{p}:5060;transport=udp SIP/2.0", "2 BYE"),
            Self::ByeOk => ("SIP/2.0 200 OK", "2 BYE"),
            Self::Busy => ("SIP/2.0 486 Busy Here", "1 INVITE"),
            Self::Unavailable => ("SIP/2.0 480 Temporarily Unavailable", "1 INVITE"),
            Self::NotFound => ("SIP/2.0 404 Not Found", "1 INVITE"),
            Self::ServerError => ("SIP/2.0 503 Service Unavailable", "1 INVITE"),
            Self::Declined => ("SIP/2.0 603 Decline", "1 INVITE"),
            Self::Cancel => ("CANCEL sip:{v}@voice.example.net;user=phone SIP/2.0", "1 CANCEL"),
            Self::CancelOk => ("SIP/2.0 200 canceling", "1 CANCEL"),
            Self::Terminated => ("SIP/2.0 487 Request Terminated", "1 INVITE"),
            Self::AckOfFailure => ("ACK sip:{v}@voice.example.net;user=phone SIP/2.0", "1 ACK"),
            Self::Register => (REGISTRAR, "1 REGISTER"),
            Self::Challenge => ("SIP/2.0 401 Unauthorized", "1 REGISTER"),
            Self::RegisterWithDigest => (REGISTRAR, "2 REGISTER"),
            Self::Registered => ("SIP/2.0 200 OK", "2 REGISTER"),
            Self::Options => ("OPTIONS sip:{p}:5060 SIP/2.0", "1 OPTIONS"),
            Self::OptionsOk => ("SIP/2.0 200 OK", "1 OPTIONS"),
        }
    }

    /// Its text with the fields' letters in braces.
    fn text(self, (agent, allow, supported, own): (&str, &str, &str, &str)) -> String {
        let (line, cseq) = self.lines();
        let request = self.is_from_caller();
        let to_self =
            matches!(self, Self::Register | Self::Challenge | Self::RegisterWithDigest | Self::Registered);
        let received = if request { ";rport" } else { ";rport=5060;received={h}" };
        let first = matches!(
            self,
            Self::Invite
                | Self::Trying
                | Self::Cancel
                | Self::CancelOk
                | Self::Register
                | Self::RegisterWithDigest
                | Self::Options
        );
        let to_tag = if first { "" } else { ";tag={t}" };
        let to = if to_self { "{u}" } else { "{v}" };
        let mut text = format!(
            "{line}\r\nVia: SIP/2.0/UDP {{h}}:5060;branch=z9hG4bK{{b}}{received}\r\n\
             From: \"User {{u}}\" <sip:{{u}}@voice.example.net>;tag={{f}}\r\nTo: <sip:{to}@voice.example.net>{to_tag}\r\n\
             Call-ID: {{c}}\r\nCSeq: {cseq}\r\n"
        );
        if request {
            text.push_str("Max-Forwards: 70\r\nRoute: <sip:{p}:5060;lr;transport=udp>\r\n");
        }
        if matches!(self, Self::Invite | Self::Ringing | Self::Answer | Self::Options | Self::OptionsOk) {
            let who = if request { "{u}@{h}" } else { "{v}@{p}" };
            text.push_str(&format!("Contact: <sip:{who}:5060;transport=udp>\r\n"));
            text.push_str("Record-Route: <sip:{p};lr;ftag={f}>\r\n");
        }
        if matches!(self, Self::Bye | Self::Cancel | Self::Terminated) {
            text.push_str("Reason: Q.850;cause=16;text=\"Normal call clearing\"\r\n");
        }
        match self {
            Self::Register | Self::RegisterWithDigest => {
                text.push_str("Contact: <sip:{u}@{h}:5060;transport=udp>;expires=300\r\nExpires: 300\r\n");
            }
            Self::Registered => {
                text.push_str("Contact: <sip:{u}@{h}:5060;transport=udp>;expires=300\r\nDate: Sat, 21 Nov 2026 12:00:00 GMT\r\n");
            }
            Self::Challenge => {
                text.push_str("WWW-Authenticate: Digest realm=\"voice.example.net\", nonce=\"{n}\", algorithm=MD5, qop=\"auth\"\r\n");
            }
            _ => {}
        }
        if self == Self::RegisterWithDigest {
            text.push_str(
                "Authorization: Digest username=\"{u}\", realm=\"voice.example.net\", nonce=\"{n}\", uri=\"sip:voice.example.net\", \
                 response=\"{r}\", algorithm=MD5, cnonce=\"{f}\", qop=auth, nc=00000001\r\n",
            );
        }
        let of_client = if request { "User-Agent" } else { "Server" };
        text.push_str(&format!("{of_client}: {agent}\r\n"));
        if matches!(
            self,
            Self::Invite
                | Self::Ringing
                | Self::Answer
                | Self::Bye
                | Self::Register
                | Self::RegisterWithDigest
                | Self::Options
                | Self::OptionsOk
        ) {
            text.push_str(&format!("Allow: {allow}\r\nSupported: {supported}\r\n{own}"));
        }
        if matches!(self, Self::Invite | Self::Answer) {
            let length = SDP.len()
                + FIELDS
                    .iter()
                    .map(|(letter, _, width)| SDP.matches(&format!("{{{letter}}}")).count() * (width - 3))
                    .sum::<usize>();
            text.push_str(&format!("Content-Type: application/sdp\r\nContent-Length: {length}\r\n\r\n{SDP}"));
        } else {
            text.push_str("Content-Length: 0\r\n\r\n");
        }
        text
    }
}

/// A whole text, and where the fields stand in it.
struct Prepared {
    octets: Vec<u8>,
    fields: Vec<(usize, Field)>,
}

impl Prepared {
    fn read(text: &str) -> Self {
        let mut octets = Vec::with_capacity(text.len() * 2);
        let mut fields = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            octets.extend_from_slice(before.as_bytes());
            let (letter, after) = after.split_once('}').unwrap_or((after, ""));
            for (_, field, width) in FIELDS.iter().filter(|(name, ..)| letter.chars().eq([*name])) {
                fields.push((octets.len(), *field));
                octets.resize(octets.len() + width, b'.');
            }
            rest = after;
        }
        octets.extend_from_slice(rest.as_bytes());
        Self { octets, fields }
    }
}

/// All texts.
pub struct Texts(Vec<Prepared>);

impl Texts {
    /// Prepares all of them.
    #[must_use]
    pub fn prepare() -> Self {
        let texts = MAKERS.into_iter().flat_map(|maker| FORMS.map(|form| Prepared::read(&form.text(maker))));
        Self(texts.collect())
    }

    /// How many octets a message has.
    #[must_use]
    pub fn length(&self, form: Form, names: &Names) -> usize {
        self.of(form, names).map_or(0, |text| text.octets.len())
    }

    /// Appends a message.
    pub fn append(&self, form: Form, names: &Names, out: &mut Vec<u8>) {
        let Some(text) = self.of(form, names) else { return };
        let start = out.len();
        out.extend_from_slice(&text.octets);
        for (at, field) in &text.fields {
            let Some(place) = out.get_mut(start + at..) else { continue };
            put(place, *field, form, names);
        }
    }

    fn of(&self, form: Form, names: &Names) -> Option<&Prepared> {
        self.0.get(names.maker() * FORMS.len() + form as usize)
    }
}

fn put(place: &mut [u8], field: Field, form: Form, names: &Names) {
    let mut copy = |octets: &[u8]| {
        if let Some(place) = place.get_mut(..octets.len()) {
            place.copy_from_slice(octets);
        }
    };
    let hex = |number: u64| {
        let mut digits = [0; 16];
        put_hex(&mut digits, number);
        digits
    };
    let decimal = |number: u64| {
        let mut digits = [0; 10];
        put_decimal(&mut digits, number);
        digits
    };
    match field {
        Field::CallId => copy(&names.call_id()),
        Field::Caller => copy(&names.caller()),
        Field::Callee => copy(&number(names.callee)),
        Field::Host => copy(&dotted(names.host())),
        Field::Proxy => copy(&dotted(names.proxy_host())),
        Field::FromTag => copy(&hex(mix(names.call ^ 0xf0))[..8]),
        Field::ToTag => copy(&hex(mix(names.call ^ 0x70))[..8]),
        Field::Branch => copy(&hex(mix(names.call ^ (form.transaction() << 8)))),
        Field::Nonce => copy(&[hex(mix(names.call ^ 0x4e)), hex(mix(names.call ^ 0x4f))].concat()),
        Field::Response => copy(&[hex(mix(names.call ^ 0x52)), hex(mix(names.call ^ 0x53))].concat()),
        Field::Session => copy(&decimal(mix(names.call ^ 0x5d) % 10_000_000_000)),
        Field::Port => copy(&decimal(10_000 + mix(names.call ^ 0x6d) % 20_000 * 2)[5..]),
    }
}

impl Form {
    /// Messages of one transaction have one branch.
    const fn transaction(self) -> u64 {
        match self {
            Self::Ack => 2,
            Self::Bye | Self::ByeOk => 3,
            Self::RegisterWithDigest | Self::Registered => 4,
            _ => 1,
        }
    }
}

/// An address whose octets have three digits each but for the first, `10`.
fn dotted(host: Ipv4Addr) -> [u8; 14] {
    let mut text = *b"10.000.000.000";
    for (at, octet) in [3, 7, 11].into_iter().zip(host.octets().into_iter().skip(1)) {
        put_decimal(&mut text[at..at + 3], u64::from(octet));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::traffic::Traffic;
    use super::*;

    #[test]
    fn every_message_is_sip_with_the_names_of_its_dialog() {
        let texts = Texts::prepare();
        let mut traffic = Traffic::new(1, 1000, 1000);
        let (mut octets, mut out) = (0, Vec::new());
        for _ in 0..100_000 {
            let due = traffic.next_due();
            out.clear();
            texts.append(due.form, &due.names, &mut out);
            assert_eq!(out.len(), texts.length(due.form, &due.names));
            let message = sip::parse(&out).expect("a message");
            assert_eq!(message.call_id(), Some(&due.names.call_id()[..]));
            octets += out.len();
        }
        let mean = octets / 100_000;
        assert!((640..=700).contains(&mean), "{mean}");
    }

    #[test]
    fn a_body_is_as_long_as_its_header_says() {
        let texts = Texts::prepare();
        let mut out = Vec::new();
        texts.append(Form::Invite, &Names::new(&mut Random(1)), &mut out);
        let text = String::from_utf8(out).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a body");
        assert!(head.contains(&format!("\r\nContent-Length: {}", body.len())), "{text}");
        assert!(!text.contains(['{', '}']), "{text}");
    }
}
