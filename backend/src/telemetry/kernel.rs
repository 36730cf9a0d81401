//! What the kernel dropped: datagrams that came while the receive buffer was full.

use std::path::Path;

/// Datagrams that each of these UDP sockets, named by inode, dropped since it was opened; `None` for one that the system
/// does not tell of.
pub fn udp_drops(inodes: &[u64]) -> Vec<Option<u64>> {
    let tables = ["/proc/net/udp", "/proc/net/udp6"];
    let texts = tables.iter().filter_map(|table| std::fs::read_to_string(Path::new(table)).ok());
    let text = texts.collect::<String>();
    inodes.iter().map(|inode| drops_in(&text, *inode)).collect()
}

/// The column `drops` of this socket. Documented in Linux' Documentation/networking/proc_net_tcp.
fn drops_in(tables: &str, inode: u64) -> Option<u64> {
    let rows = tables.lines().map(|row| row.split_ascii_whitespace().collect::<Vec<_>>());
    let inode_of = |row: &Vec<&str>| row.get(9)?.parse::<u64>().ok();
    rows.filter(|row| inode_of(row) == Some(inode)).find_map(|row| row.last()?.parse().ok())
}

#[cfg(test)]
mod tests {
    #[test]
    fn drops_are_read_from_the_row_of_the_socket() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n \
            1: 0100007F:2364 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 100 2 0000000000000000 17\n \
            2: 0100007F:2364 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 101 2 0000000000000000 5\n";
        assert_eq!((super::drops_in(table, 100), super::drops_in(table, 101)), (Some(17), Some(5)));
        assert_eq!(super::drops_in(table, 102), None);
    }
}
