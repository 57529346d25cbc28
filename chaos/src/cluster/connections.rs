//! Who is connected, as the kernel says.

use std::fs;
use std::net::{IpAddr, SocketAddr};

/// State of an open connection in /proc/net/tcp.
const ESTABLISHED: &str = "01";

/// Open connections to `server`, counted at the ends of its clients.
pub(super) fn established(server: SocketAddr) -> usize {
    fs::read_to_string("/proc/net/tcp").map_or(0, |table| count(&table, server))
}

fn count(table: &str, server: SocketAddr) -> usize {
    let IpAddr::V4(host) = server.ip() else { return 0 };
    // The address is the number that the machine has in memory.
    let wanted = format!("{:08X}:{:04X}", u32::from_ne_bytes(host.octets()), server.port());
    let is = |line: &&str| {
        let mut fields = line.split_whitespace().skip(2);
        fields.next() == Some(wanted.as_str()) && fields.next() == Some(ESTABLISHED)
    };
    table.lines().filter(is).count()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn open_connections_are_counted_at_the_client() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(established(address), 0);
        let clients: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(address).unwrap()).collect();
        assert_eq!(established(address), 3);
        drop(clients);
        assert_eq!(established(address), 0);
    }
}
