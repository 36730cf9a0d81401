use crate::header::{Known, known};
use crate::party::{Parts, first_party};
use crate::start::{is_token, split_start};
use crate::{Header, Headers, NotSip, Party, StartLine, Via};

/// A message, borrowed from its octets. Of a header that comes twice the first one counts, as with Via the topmost
/// does.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    start: StartLine<'a>,
    headers: Headers<'a>,
    body: &'a [u8],
    call_id: Option<&'a [u8]>,
    contact: Option<&'a [u8]>,
    content_length: Option<&'a [u8]>,
    content_type: Option<&'a [u8]>,
    cseq: Option<&'a [u8]>,
    from: Option<&'a [u8]>,
    server: Option<&'a [u8]>,
    to: Option<&'a [u8]>,
    user_agent: Option<&'a [u8]>,
    via: Option<&'a [u8]>,
}

/// Reads a message. Only one that does not begin with a SIP/2.0 start line is refused.
pub fn parse(raw: &[u8]) -> Result<Message<'_>, NotSip> {
    read(raw, false)
}

/// Reads a message no further than its Call-ID, CSeq, From and To, which stand near its start: whoever needs no more has
/// them in less than half the time. A Via before them is read, too; what else it says is there or not, and its body is not
/// what it seems.
pub fn parse_identity(raw: &[u8]) -> Result<Message<'_>, NotSip> {
    read(raw, true)
}

#[inline]
fn read<'a>(raw: &'a [u8], identity_only: bool) -> Result<Message<'a>, NotSip> {
    let (start, rest) = split_start(raw)?;
    let headers = Headers::new(rest);
    let mut message = Message {
        start,
        headers,
        body: &[],
        call_id: None,
        contact: None,
        content_length: None,
        content_type: None,
        cseq: None,
        from: None,
        server: None,
        to: None,
        user_agent: None,
        via: None,
    };
    let mut left = headers;
    let next = |left: &mut Headers<'a>| if identity_only { left.next_of_identity() } else { left.next() };
    while let Some(Header { name, value }) = next(&mut left) {
        let field = match known(name) {
            Some(Known::CallId) => &mut message.call_id,
            Some(Known::Contact) => &mut message.contact,
            Some(Known::ContentLength) => &mut message.content_length,
            Some(Known::ContentType) => &mut message.content_type,
            Some(Known::CSeq) => &mut message.cseq,
            Some(Known::From) => &mut message.from,
            Some(Known::Server) => &mut message.server,
            Some(Known::To) => &mut message.to,
            Some(Known::UserAgent) => &mut message.user_agent,
            Some(Known::Via) => &mut message.via,
            None => continue,
        };
        field.get_or_insert(value);
        if identity_only
            && message.call_id.is_some()
            && message.cseq.is_some()
            && message.from.is_some()
            && message.to.is_some()
        {
            break;
        }
    }
    message.body = left.rest();
    Ok(message)
}

impl<'a> Message<'a> {
    /// The first line.
    pub fn start(&self) -> StartLine<'a> {
        self.start
    }

    /// Method of a request, or of the request a reply belongs to, told by its CSeq.
    pub fn method(&self) -> Option<&'a [u8]> {
        match self.start {
            StartLine::Request { method, .. } => Some(method),
            StartLine::Reply { .. } => self.cseq().map(|cseq| cseq.method),
        }
    }

    /// Call-ID. RFC 3261 §20.8. `None` if there is none or it is empty.
    pub fn call_id(&self) -> Option<&'a [u8]> {
        self.call_id.filter(|value| !value.is_empty())
    }

    /// CSeq. RFC 3261 §20.16.
    pub fn cseq(&self) -> Option<CSeq<'a>> {
        self.cseq.and_then(CSeq::read)
    }

    /// From. RFC 3261 §20.20.
    pub fn from(&self) -> Option<Party<'a>> {
        self.from.and_then(first_party)
    }

    /// To. RFC 3261 §20.39.
    pub fn to(&self) -> Option<Party<'a>> {
        self.to.and_then(first_party)
    }

    /// User of From, without a look at the rest of it.
    pub fn from_user(&self) -> Option<&'a [u8]> {
        Parts::of(self.from?)?.user()
    }

    /// Tag of From, without a look at the rest of it.
    pub fn from_tag(&self) -> Option<&'a [u8]> {
        Parts::of(self.from?)?.tag()
    }

    /// Tag of To, without a look at the rest of it.
    pub fn to_tag(&self) -> Option<&'a [u8]> {
        Parts::of(self.to?)?.tag()
    }

    /// User and tag of To, without a look at the rest of it.
    pub fn to_user_and_tag(&self) -> (Option<&'a [u8]>, Option<&'a [u8]>) {
        self.to.and_then(Parts::of).map_or((None, None), |parts| (parts.user(), parts.tag()))
    }

    /// First Contact. RFC 3261 §20.10. `None` for `*`.
    pub fn contact(&self) -> Option<Party<'a>> {
        self.contact.and_then(first_party)
    }

    /// User of the first Contact.
    pub fn contact_user(&self) -> Option<&'a [u8]> {
        self.contact()?.user
    }

    /// Host of the first Contact.
    pub fn contact_host(&self) -> Option<&'a [u8]> {
        self.contact()?.host
    }

    /// Topmost Via. RFC 3261 §20.42.
    pub fn via(&self) -> Option<Via<'a>> {
        self.via.and_then(Via::read_first)
    }

    /// Branch of the topmost Via: with the CSeq method, the key of the transaction. RFC 3261 §17.2.3.
    pub fn branch(&self) -> Option<&'a [u8]> {
        self.via()?.branch
    }

    /// User-Agent, else Server: who wrote the message. RFC 3261 §20.41 and §20.35.
    pub fn user_agent(&self) -> Option<&'a [u8]> {
        self.user_agent.or(self.server).filter(|value| !value.is_empty())
    }

    /// Content-Type with its parameters. RFC 3261 §20.15.
    pub fn content_type(&self) -> Option<&'a [u8]> {
        self.content_type.filter(|value| !value.is_empty())
    }

    /// Content-Length, octets; what the header says, which need not be the body's length. RFC 3261 §20.14.
    pub fn content_length(&self) -> Option<usize> {
        number(self.content_length?)
    }

    /// Value of the first header of this name. Names are compared in any case, a compact form counts as the long one.
    /// A folded value keeps its line breaks inside.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers().find(|header| header.is(name.as_bytes())).map(|header| header.value)
    }

    /// All headers, in their order.
    pub fn headers(&self) -> Headers<'a> {
        self.headers
    }

    /// What follows the empty line, to the end of what was captured; Content-Length is not applied to it.
    pub fn body(&self) -> &'a [u8] {
        self.body
    }
}

/// Place of a request in its dialog. RFC 3261 §20.16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CSeq<'a> {
    /// Sequence number; less than 2³¹ by the rules, any 32 bits here.
    pub number: u32,
    /// Method, as written.
    pub method: &'a [u8],
}

impl<'a> CSeq<'a> {
    fn read(value: &'a [u8]) -> Option<Self> {
        let digits = value.iter().position(|octet| !octet.is_ascii_digit())?;
        let (digits, method) = value.split_at(digits);
        let method = method.trim_ascii();
        let is_method = !method.is_empty() && method.iter().all(|&octet| is_token(octet));
        is_method.then_some(CSeq { number: number(digits)?, method })
    }
}

fn number<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    // `parse` would take a sign.
    digits.first().filter(|octet| octet.is_ascii_digit())?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
