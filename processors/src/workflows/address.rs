//! Which addresses steps may connect to.
//!
//! A URL comes from a rule file, a name's addresses from whoever runs the name's zone. So it is the address that is
//! checked, at connect time, and the connection goes to the address that was checked: a name that resolves to
//! something else a moment later gains nothing. Only addresses of the public internet pass, and what the configuration
//! allows besides (`workflows.allow_addresses`).

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

/// Names to addresses.
#[async_trait]
pub trait Lookup: Send + Sync + fmt::Debug + 'static {
    /// All addresses of `host`, which is not an address itself. Ports are 0.
    ///
    /// # Errors
    /// What the resolver says.
    async fn lookup(&self, host: &str) -> io::Result<Vec<SocketAddr>>;
}

/// The resolver of the operating system.
#[derive(Clone, Copy, Debug)]
pub struct SystemLookup;

#[async_trait]
impl Lookup for SystemLookup {
    async fn lookup(&self, host: &str) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((host, 0)).await?.collect())
    }
}

/// Why a host is not connected to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The name has no addresses now: try again.
    #[error("cannot resolve `{host}`: {reason}")]
    Unresolved {
        /// The name.
        host: String,
        /// What the resolver said.
        reason: String,
    },
    /// All addresses of the host are refused: no use to try again before the configuration allows one.
    #[error("`{host}` is {address}, an address that is not public; `workflows.allow_addresses` can allow it")]
    Refused {
        /// Name or address.
        host: String,
        /// The first of its addresses.
        address: IpAddr,
    },
}

/// Resolves and checks. As the resolver of an HTTP client it hands out checked addresses only; addresses in URLs, which
/// clients do not resolve, are checked with [`Guard::check`].
#[derive(Clone, Debug)]
pub struct Guard {
    lookup: Arc<dyn Lookup>,
    allowed: Arc<[Prefix]>,
}

impl Guard {
    /// A guard that lets through `allowed` besides public addresses.
    #[must_use]
    pub fn new(lookup: Arc<dyn Lookup>, allowed: &[Prefix]) -> Self {
        Self { lookup, allowed: allowed.into() }
    }

    /// Whether `address` may be connected to.
    ///
    /// # Errors
    /// [`Denied::Refused`].
    pub fn check(&self, host: &str, address: IpAddr) -> Result<(), Denied> {
        let allowed = is_public(address) || self.allowed.iter().any(|prefix| prefix.contains(address));
        if allowed { Ok(()) } else { Err(Denied::Refused { host: host.to_owned(), address }) }
    }

    /// The addresses of `host`, a name or an address (IPv6 with or without brackets), that may be connected to: at
    /// least one. Ports are 0.
    ///
    /// # Errors
    /// See [`Denied`].
    pub async fn resolve(&self, host: &str) -> Result<Vec<SocketAddr>, Denied> {
        let unresolved = |reason: String| Denied::Unresolved { host: host.to_owned(), reason };
        let bare = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host);
        let mut addresses = match bare.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, 0)],
            Err(_) => self.lookup.lookup(host).await.map_err(|error| unresolved(error.to_string()))?,
        };
        let Some(first) = addresses.first().map(SocketAddr::ip) else {
            return Err(unresolved("it has no addresses".to_owned()));
        };
        addresses.retain(|address| self.check(host, address.ip()).is_ok());
        if addresses.is_empty() {
            Err(Denied::Refused { host: host.to_owned(), address: first })
        } else {
            Ok(addresses)
        }
    }
}

impl reqwest::dns::Resolve for Guard {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let addresses = Guard::resolve(&guard, name.as_str()).await?;
            Ok(Box::new(addresses.into_iter()) as reqwest::dns::Addrs)
        })
    }
}

/// Whether an address is one of the public internet. Everything else is refused, whatever it is for.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !NOT_PUBLIC_V4.iter().any(|(network, bits)| same_bits_v4(address, *network, *bits)),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// IANA's special-purpose registry: this network, private, shared, loopback, link-local, protocol assignments,
/// documentation, 6to4 relays, benchmarks, multicast, and reserved with broadcast.
const NOT_PUBLIC_V4: [(Ipv4Addr, u32); 15] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let embedded =
        |high: u16, low: u16| is_public(IpAddr::V4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))));
    match (a, b) {
        // IPv4-mapped: the kernel connects to the IPv4 address.
        (0, 0) if (c, d, e, f) == (0, 0, 0, 0xffff) => embedded(g, h),
        // NAT64: a gateway does.
        (0x64, 0xff9b) if (c, d, e, f) == (0, 0, 0, 0) => embedded(g, h),
        // 6to4: a relay does.
        (0x2002, high) => embedded(high, c),
        // Protocol assignments with Teredo; documentation.
        (0x2001, 0..0x200 | 0xdb8) | (0x3fff, 0..0x1000) => false,
        // Global unicast. Loopback, IPv4-compatible, unique-local, link-local and multicast are not in it.
        _ => (a & 0xe000) == 0x2000,
    }
}

fn same_bits_v4(a: Ipv4Addr, b: Ipv4Addr, bits: u32) -> bool {
    (u32::from(a) ^ u32::from(b)).leading_zeros() >= bits
}

/// A network, such as `10.0.0.0/8` or `fd00::/8`; without `/` a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix {
    network: IpAddr,
    bits: u32,
}

impl Prefix {
    /// Whether `address` is in the network. An IPv4-mapped address is the IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.network, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => same_bits_v4(network, address, self.bits),
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                (u128::from(network) ^ u128::from(address)).leading_zeros() >= self.bits
            }
            _ => false,
        }
    }
}

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a network: expected an address and a length, such as `10.0.0.0/8`");
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let network: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if network.is_ipv4() { 32 } else { 128 };
        let bits: u32 = bits.map_or(Ok(most), str::parse).map_err(|_| wrong())?;
        if bits > most {
            return Err(format!("`{text}` is not a network: its length is more than {most}"));
        }
        Ok(Self { network, bits })
    }
}

impl TryFrom<String> for Prefix {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> Self {
        prefix.to_string()
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.bits)
    }
}

#[cfg(test)]
mod tests;
