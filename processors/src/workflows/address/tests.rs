use std::collections::VecDeque;
use std::sync::Mutex;

use super::*;

/// Answers as scripted.
#[derive(Debug)]
struct Script(Mutex<VecDeque<Vec<&'static str>>>);

#[async_trait]
impl Lookup for Script {
    async fn lookup(&self, _host: &str) -> io::Result<Vec<SocketAddr>> {
        let next = self.0.lock().unwrap().pop_front().ok_or_else(|| io::Error::other("no such name"))?;
        Ok(next.into_iter().map(|address| SocketAddr::new(address.parse().unwrap(), 0)).collect())
    }
}

fn scripted(answers: &[&[&'static str]], allowed: &[&str]) -> Guard {
    let script = answers.iter().map(|addresses| addresses.to_vec()).collect();
    let allowed: Vec<Prefix> = allowed.iter().map(|network| network.parse().unwrap()).collect();
    Guard::new(Arc::new(Script(Mutex::new(script))), &allowed)
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn only_public_addresses_pass() {
    for public in [
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.167.255.255",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2606:4700::1111",
        "2001:200::1",
        "::ffff:1.1.1.1",
        "64:ff9b::1.1.1.1",
        "2002:0101:0101::1",
    ] {
        assert!(is_public(address(public)), "{public}");
    }
    for refused in [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.255",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::1.1.1.1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::10.0.0.1",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:db8::1",
        "2001:1ff::1",
        "2002:7f00:0001::1",
        "2002:0a00:0001::1",
        "2002:c0a8:0001::1",
        "3fff::1",
        "3fff:fff::1",
        "5f00::1",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ] {
        assert!(!is_public(address(refused)), "{refused}");
    }
}

#[test]
fn a_network_is_parsed_contains_and_is_written_again() {
    let network: Prefix = "10.0.0.0/8".parse().unwrap();
    assert!(network.contains(address("10.255.0.1")) && network.contains(address("::ffff:10.1.1.1")));
    assert!(!network.contains(address("11.0.0.1")) && !network.contains(address("fd00::1")));
    assert_eq!(network.to_string(), "10.0.0.0/8");
    let single: Prefix = "127.0.0.1".parse().unwrap();
    assert!(single.contains(address("127.0.0.1")) && !single.contains(address("127.0.0.2")));
    let six: Prefix = "fd00::/8".parse().unwrap();
    assert!(six.contains(address("fdff::1")) && !six.contains(address("fc00::1")));
    let all: Prefix = "0.0.0.0/0".parse().unwrap();
    assert!(all.contains(address("255.1.1.1")) && !all.contains(address("::1")));
    for wrong in ["10.0.0.0/33", "fd00::/129", "10.0.0/8", "10.0.0.0/", "10.0.0.0/-1", "oven", ""] {
        let problem = wrong.parse::<Prefix>().unwrap_err();
        assert!(problem.contains("is not a network"), "{problem}");
    }
}

#[tokio::test]
async fn refused_addresses_are_left_out_and_a_host_of_nothing_else_is_refused() {
    let guard = scripted(&[&["10.0.0.1", "1.1.1.1", "::1"], &["10.0.0.1", "::1"], &[]], &[]);
    let passed = guard.resolve("mixed.example").await.unwrap();
    assert_eq!(passed, vec![SocketAddr::new(address("1.1.1.1"), 0)]);
    let denied = guard.resolve("inside.example").await.unwrap_err();
    assert_eq!(denied, Denied::Refused { host: "inside.example".to_owned(), address: address("10.0.0.1") });
    assert!(denied.to_string().contains("`inside.example` is 10.0.0.1"), "{denied}");
    assert!(denied.to_string().contains("workflows.allow_addresses"), "{denied}");
    assert!(matches!(guard.resolve("empty.example").await, Err(Denied::Unresolved { .. })));
    assert!(matches!(guard.resolve("unknown.example").await, Err(Denied::Unresolved { .. })));
}

#[tokio::test]
async fn the_configuration_allows_more() {
    let guard = scripted(&[&["10.0.0.1", "10.0.0.2"]], &["10.0.0.2/32"]);
    assert_eq!(guard.resolve("x").await.unwrap(), vec![SocketAddr::new(address("10.0.0.2"), 0)]);
    assert!(guard.resolve("10.0.0.2").await.is_ok());
    assert!(guard.resolve("[::ffff:10.0.0.2]").await.is_ok());
    assert!(guard.resolve("10.0.0.1").await.is_err());
    assert!(guard.resolve("[::1]").await.is_err());
}

#[tokio::test]
async fn the_name_localhost_and_other_spellings_of_loopback_are_refused() {
    let guard = Guard::new(Arc::new(SystemLookup), &[]);
    // The last are read by the resolver of the system, as inet_aton does.
    for host in ["localhost", "localhost.", "2130706433", "0x7f000001", "0177.0.0.1", "127.1"] {
        match guard.resolve(host).await {
            Err(Denied::Refused { address, .. }) => assert!(address.is_loopback(), "{host}: {address}"),
            // A resolver may not know a spelling; nothing is connected to then either.
            Err(Denied::Unresolved { .. }) => assert_ne!(host, "localhost"),
            Ok(addresses) => panic!("{host} passed as {addresses:?}"),
        }
    }
}

#[tokio::test]
async fn a_name_that_changes_its_mind_is_checked_each_time() {
    let guard = scripted(&[&["1.1.1.1"], &["127.0.0.1"]], &[]);
    assert!(guard.resolve("rebind.example").await.is_ok());
    assert!(matches!(guard.resolve("rebind.example").await, Err(Denied::Refused { .. })));
}
