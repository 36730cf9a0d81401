//! How a packet came.

/// A way in.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Way {
    /// The body of an HTTP request.
    Http,
    /// A TCP stream.
    Tcp,
    /// A TLS stream.
    Tls,
    /// A datagram.
    Udp,
    /// A stream of a Unix socket.
    Unix,
    /// A WebSocket.
    Ws,
}

impl Way {
    /// Its name in labels and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Udp => "udp",
            Self::Unix => "unix",
            Self::Ws => "ws",
        }
    }

    /// Whether each packet comes by itself: it neither waits, nor is it sent again.
    #[must_use]
    pub const fn is_datagram(self) -> bool {
        matches!(self, Self::Udp)
    }

    /// What the spool notes: the nearest transport that it has a number for.
    #[must_use]
    pub const fn recorded(self) -> hep::Transport {
        match self {
            Self::Http | Self::Tcp | Self::Unix => hep::Transport::Tcp,
            Self::Tls => hep::Transport::Tls,
            Self::Udp => hep::Transport::Udp,
            Self::Ws => hep::Transport::Ws,
        }
    }
}
