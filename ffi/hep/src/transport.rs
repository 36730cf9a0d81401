/// The transport a message was carried by. Chunk 0x0002 cannot tell TLS from WebSocket, so Siplens' agents send it in a
/// vendor chunk of their own; `docs/adr/0003-hep-vendor-chunk.md` has the reasons. The order is that of the codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// SCTP.
    Sctp,
    /// WebSocket, RFC 7118.
    Ws,
    /// WebSocket over TLS, RFC 7118.
    Wss,
}

impl Transport {
    /// Every transport, by ascending code.
    pub const ALL: [Transport; 6] =
        [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Sctp, Transport::Ws, Transport::Wss];

    /// The octet in the vendor chunk, 1–6.
    pub const fn code(self) -> u8 {
        match self {
            Transport::Udp => 1,
            Transport::Tcp => 2,
            Transport::Tls => 3,
            Transport::Sctp => 4,
            Transport::Ws => 5,
            Transport::Wss => 6,
        }
    }

    /// The transport with this code in the vendor chunk.
    pub fn from_code(code: u8) -> Option<Transport> {
        Transport::ALL.into_iter().find(|transport| transport.code() == code)
    }

    /// What chunk 0x0002 says for it: 17, 6, 132, or 22 for the three that have no protocol number of their own.
    pub const fn ip_protocol(self) -> u8 {
        match self {
            Transport::Udp => 17,
            Transport::Tcp => 6,
            Transport::Sctp => 132,
            Transport::Tls | Transport::Ws | Transport::Wss => 22,
        }
    }

    /// The transport that chunk 0x0002 alone tells; `None` for 22, which may be any of three.
    pub const fn from_ip_protocol(ip_protocol: u8) -> Option<Transport> {
        match ip_protocol {
            17 => Some(Transport::Udp),
            6 => Some(Transport::Tcp),
            132 => Some(Transport::Sctp),
            _ => None,
        }
    }

    /// Name in lower case, as in a SIP URI's transport parameter.
    pub const fn name(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
            Transport::Sctp => "sctp",
            Transport::Ws => "ws",
            Transport::Wss => "wss",
        }
    }

    /// The transport of this name, in any case.
    pub fn from_name(name: &str) -> Option<Transport> {
        Transport::ALL.into_iter().find(|transport| transport.name().eq_ignore_ascii_case(name))
    }
}

impl std::fmt::Display for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_lead_back_to_their_transport() {
        for transport in Transport::ALL {
            assert_eq!(Transport::from_code(transport.code()), Some(transport));
            assert_eq!(Transport::from_name(transport.name()), Some(transport));
        }
        assert_eq!(Transport::from_code(0), None);
        assert_eq!(Transport::from_name("dccp"), None);
    }

    #[test]
    fn protocol_number_22_does_not_name_a_transport() {
        assert_eq!(Transport::from_ip_protocol(22), None);
        assert_eq!(Transport::from_ip_protocol(Transport::Sctp.ip_protocol()), Some(Transport::Sctp));
    }
}
