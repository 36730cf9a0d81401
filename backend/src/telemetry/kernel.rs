//! What the kernel dropped: datagrams that came while the receive buffer was full.

use std::path::Path;

/// Datagrams dropped by UDP sockets that are bound to this port, since they were opened; `None` where the system does
/// not tell.
pub fn udp_drops(port: u16) -> Option<u64> {
    let tables = ["/proc/net/udp", "/proc/net/udp6"];
    let counts = tables.iter().filter_map(|table| std::fs::read_to_string(Path::new(table)).ok());
    counts.map(|table| drops_in(&table, port)).reduce(|a, b| a + b)
}

/// The column `drops` of the sockets with this local port. Documented in Linux' Documentation/networking/proc_net_tcp.
fn drops_in(table: &str, port: u16) -> u64 {
    let rows = table.lines().skip(1).map(|row| row.split_ascii_whitespace().collect::<Vec<_>>());
    rows.filter(|row| {
        let local = row.get(1).and_then(|address| address.rsplit_once(':'));
        local.is_some_and(|(_, digits)| u16::from_str_radix(digits, 16) == Ok(port))
    })
    .filter_map(|row| row.last()?.parse::<u64>().ok())
    .sum()
}

#[cfg(test)]
mod tests {
    #[test]
    fn drops_are_read_from_the_row_of_the_port() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n \
            1: 0100007F:2364 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 100 2 0000000000000000 17\n \
            2: 0100007F:2365 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 101 2 0000000000000000 5\n";
        assert_eq!(super::drops_in(table, 9060), 17);
    }
}
