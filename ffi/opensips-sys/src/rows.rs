//! Where things lie in the structs of each OpenSIPS version; octets, on 64-bit machines.
//!
//! Compiled into the library and into its build script. Every number was compared with the headers of every version
//! that its row covers (`scripts/opensips-layout`).

/// A release: 3.6.8 is `(3, 6, 8)`.
pub type Version = (u16, u16, u16);

/// What differs between versions. What does not is in `tables` and `message`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The first release that the row was checked with.
    pub first: Version,
    /// The last release that the row was checked with.
    pub last: Version,
    /// `sip_msg.rcv`
    pub msg_rcv: usize,
    /// `sip_msg.buf`; `len` follows it.
    pub msg_buf: usize,
    /// `sizeof(struct sip_msg)`
    pub msg_size: usize,
    /// `socket_info.address`
    pub socket_address: usize,
    /// `socket_info.port_no`
    pub socket_port: usize,
    /// `socket_info.adv_address`; `adv_port` follows it.
    pub socket_advertised: usize,
    /// `socket_info.last_real_ports`, or the first of the two numbers themselves.
    pub socket_real_ports: usize,
    /// Whether `socket_real_ports` is a pointer to the two numbers.
    pub real_ports_behind_pointer: bool,
    /// `sizeof(struct proto_info)`
    pub proto_size: usize,
    /// `proto_info.tran.send`
    pub proto_send: usize,
    /// The last protocol that carries SIP: 6 is WSS, 7 IPsec.
    pub last_sip_proto: usize,
    /// Whether the send function gets the message, too.
    pub send_gets_message: bool,
    /// Parameters that a recipe of an MI command has room for.
    pub mi_params: usize,
    /// Other names that an MI command has room for.
    pub mi_aliases: usize,
    /// Whether the core puts the module's name before that of an MI command.
    pub mi_namespace: bool,
}

/// Every version that is known.
pub const ROWS: &[Row] = &[
    Row {
        first: (3, 4, 0),
        last: (3, 4, 18),
        msg_rcv: 480,
        msg_buf: 584,
        msg_size: 2472,
        socket_address: 40,
        socket_port: 80,
        socket_advertised: 224,
        socket_real_ports: 264,
        real_ports_behind_pointer: false,
        proto_size: 128,
        proto_send: 32,
        last_sip_proto: 6,
        send_gets_message: false,
        mi_params: 10,
        mi_aliases: 0,
        mi_namespace: false,
    },
    Row {
        first: (3, 5, 0),
        last: (3, 5, 9),
        msg_rcv: 504,
        msg_buf: 608,
        msg_size: 2496,
        socket_address: 40,
        socket_port: 80,
        socket_advertised: 224,
        socket_real_ports: 280,
        real_ports_behind_pointer: true,
        proto_size: 136,
        proto_send: 32,
        last_sip_proto: 7,
        send_gets_message: false,
        mi_params: 10,
        mi_aliases: 0,
        mi_namespace: false,
    },
    Row {
        first: (3, 6, 0),
        last: (3, 6, 8),
        msg_rcv: 504,
        msg_buf: 608,
        msg_size: 2496,
        socket_address: 40,
        socket_port: 80,
        socket_advertised: 224,
        socket_real_ports: 280,
        real_ports_behind_pointer: true,
        proto_size: 144,
        proto_send: 40,
        last_sip_proto: 7,
        send_gets_message: false,
        mi_params: 10,
        mi_aliases: 0,
        mi_namespace: false,
    },
    Row {
        first: (4, 0, 0),
        last: (4, 0, 1),
        msg_rcv: 504,
        msg_buf: 672,
        msg_size: 2560,
        socket_address: 56,
        socket_port: 96,
        socket_advertised: 240,
        socket_real_ports: 304,
        real_ports_behind_pointer: true,
        proto_size: 168,
        proto_send: 40,
        last_sip_proto: 7,
        send_gets_message: true,
        mi_params: 20,
        mi_aliases: 4,
        mi_namespace: true,
    },
];

/// The index of the row for a release.
#[must_use]
pub fn row_of(version: Version) -> Option<usize> {
    ROWS.iter().position(|row| row.first <= version && version <= row.last)
}
