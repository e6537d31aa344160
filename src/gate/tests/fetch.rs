//! Addresses that are of the public network, and those that only look so.

use rustls::RootCertStore;

use crate::deliver::client;
use crate::gate::Reach;
use crate::gate::fetch::{Fetcher, is_public};
use crate::verify::Address;

#[test]
fn only_addresses_of_the_public_network_are_called() {
    for address in [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.8.8.8",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.7",
        "203.0.113.9",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "::127.0.0.1",
        "64:ff9b::a00:1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::1",
        "3fff::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "4000::1",
    ] {
        assert!(!is_public(address.parse().unwrap()), "{address}");
    }
    for address in [
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.1",
        "100.63.255.255",
        "100.128.0.1",
        "172.15.0.1",
        "172.32.0.1",
        "192.0.1.1",
        "198.17.0.1",
        "198.20.0.1",
        "223.255.255.255",
        "52.94.5.1",
        "::ffff:52.94.5.1",
        "64:ff9b::345e:501",
        "2600:1f00::1",
        "2001:4860:4860::8888",
        "2a05:d018::1",
    ] {
        assert!(is_public(address.parse().unwrap()), "{address}");
    }
}

#[tokio::test]
async fn a_name_of_a_private_address_is_not_called() {
    let client = client(RootCertStore::empty()).unwrap();
    let fetcher = Fetcher { client, reach: Reach::Public };
    for host in ["localhost", "127.0.0.1", "::1", "169.254.169.254", "10.0.0.1"] {
        let refused = fetcher.get(&Address::of(host, "/")).await.unwrap_err();
        assert_eq!(refused, format!("{host} has no public address"));
    }
}
