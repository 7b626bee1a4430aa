//! The access list: who may connect from where, and how they prove who they are. What
//! `pg_hba.conf` is to Postgres (manual, chapter "Client Authentication"), with its words.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// One entry. The first that fits a connection decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub kind: ConnectionKind,
    pub database: Names,
    pub user: Names,
    pub address: Addresses,
    pub method: Method,
}

/// Which connections an entry is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionKind {
    Any,
    /// Encrypted ones.
    Tls,
    /// Unencrypted ones.
    Plain,
}

/// How a client proves that it is the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Not at all.
    Trust,
    /// By its password (SCRAM-SHA-256).
    Scram,
    /// By a certificate whose common name is the user's.
    Certificate,
    Reject,
}

/// Databases or users: names, `all`, and for databases `sameuser`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names(pub Vec<String>);

/// Networks of clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses(pub Vec<IpNet>);

/// A connection that wants in.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    pub address: IpAddr,
    pub encrypted: bool,
    pub database: &'a str,
    pub user: &'a str,
}

impl Names {
    /// The word for every name.
    pub const ALL: &'static str = "all";
    /// The database that is called as the user.
    pub const SAME_USER: &'static str = "sameuser";

    pub fn all() -> Self {
        Self(vec![Self::ALL.to_string()])
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|ours| ours == Self::ALL || ours == name)
    }
}

impl Addresses {
    /// Every address.
    pub fn all() -> Self {
        Self(vec![
            Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0).into(),
            Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0).into(),
        ])
    }

    /// The machine itself.
    pub fn loopback() -> Self {
        Self(loopback_networks().to_vec())
    }

    /// Is every address the machine itself?
    pub fn is_loopback(&self) -> bool {
        let ours = loopback_networks();
        self.0.iter().all(|network| ours.iter().any(|loopback| loopback.contains(network)))
    }
}

fn loopback_networks() -> [IpNet; 2] {
    [
        Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8).into(),
        Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128).into(),
    ]
}

impl Rule {
    /// What an entry means that says nothing.
    pub fn unset() -> Self {
        Self {
            kind: ConnectionKind::Any,
            database: Names::all(),
            user: Names::all(),
            address: Addresses::all(),
            method: Method::Scram,
        }
    }

    /// The whole list where none is configured: the machine itself is trusted, nobody else let in.
    pub fn trusted_loopback() -> Self {
        Self { address: Addresses::loopback(), method: Method::Trust, ..Self::unset() }
    }

    fn fits(&self, client: &Client<'_>) -> bool {
        let kind = match self.kind {
            ConnectionKind::Any => true,
            ConnectionKind::Tls => client.encrypted,
            ConnectionKind::Plain => !client.encrypted,
        };
        let same_user =
            || client.database == client.user && self.database.0.iter().any(|name| name == Names::SAME_USER);
        // An IPv4 client of a socket for both is known by its IPv4 address.
        let address = client.address.to_canonical();
        kind && (self.database.has(client.database) || same_user())
            && self.user.has(client.user)
            && self.address.0.iter().any(|network| network.contains(&address))
    }
}

/// What the list says of a client; `None`: nothing.
pub fn decide(rules: &[Rule], client: &Client<'_>) -> Option<Method> {
    rules.iter().find(|rule| rule.fits(client)).map(|rule| rule.method)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client<'a>(address: &str, encrypted: bool, database: &'a str, user: &'a str) -> Client<'a> {
        Client { address: address.parse().unwrap(), encrypted, database, user }
    }

    fn names(names: &[&str]) -> Names {
        Names(names.iter().map(ToString::to_string).collect())
    }

    fn networks(networks: &[&str]) -> Addresses {
        Addresses(networks.iter().map(|network| network.parse().unwrap()).collect())
    }

    #[test]
    fn the_first_entry_that_fits_decides() {
        let rules = [
            Rule { user: names(&["mallory"]), method: Method::Reject, ..Rule::unset() },
            Rule {
                user: names(&["robot"]),
                kind: ConnectionKind::Tls,
                method: Method::Certificate,
                ..Rule::unset()
            },
            Rule { address: networks(&["10.1.0.0/16"]), kind: ConnectionKind::Tls, ..Rule::unset() },
            Rule { address: networks(&["10.1.2.3/32", "fd00::/8"]), method: Method::Reject, ..Rule::unset() },
            Rule::trusted_loopback(),
        ];
        let decided = |address, encrypted, user| decide(&rules, &client(address, encrypted, "lake", user));
        assert_eq!(decided("127.0.0.1", false, "mallory"), Some(Method::Reject));
        assert_eq!(decided("127.0.0.1", true, "robot"), Some(Method::Certificate));
        assert_eq!(decided("127.0.0.1", false, "robot"), Some(Method::Trust));
        assert_eq!(decided("10.1.2.3", true, "alice"), Some(Method::Scram));
        assert_eq!(decided("10.1.2.3", false, "alice"), Some(Method::Reject));
        assert_eq!(decided("10.1.2.4", false, "alice"), None);
        assert_eq!(decided("10.2.0.1", true, "alice"), None);
        assert_eq!(decided("fd12::1", true, "alice"), Some(Method::Reject));
        assert_eq!(decided("::1", false, "alice"), Some(Method::Trust));
        // An IPv4 client of a socket that takes both families.
        assert_eq!(decided("::ffff:127.0.0.1", false, "alice"), Some(Method::Trust));
        assert_eq!(decided("::ffff:10.1.2.3", true, "alice"), Some(Method::Scram));
    }

    #[test]
    fn databases_and_users() {
        let rule = |database: &[&str], user: &[&str]| {
            [Rule { database: names(database), user: names(user), ..Rule::unset() }]
        };
        let fits = |rules: &[Rule], database, user| {
            decide(rules, &client("192.0.2.1", false, database, user)).is_some()
        };
        let some = rule(&["lake", "events"], &["alice", "bob"]);
        assert!(fits(&some, "lake", "bob"));
        assert!(!fits(&some, "other", "bob"));
        assert!(!fits(&some, "lake", "Bob"));
        let own = rule(&["sameuser"], &["all"]);
        assert!(fits(&own, "alice", "alice"));
        assert!(!fits(&own, "lake", "alice"));
        // "sameuser" is no word for users.
        assert!(!fits(&rule(&["all"], &["sameuser"]), "alice", "alice"));
    }

    #[test]
    fn only_the_machine_itself_is_loopback() {
        assert!(Addresses::loopback().is_loopback());
        assert!(networks(&["127.0.0.1/32", "127.3.0.0/16"]).is_loopback());
        assert!(!Addresses::all().is_loopback());
        assert!(!networks(&["127.0.0.0/7"]).is_loopback());
        assert!(!networks(&["127.0.0.1/32", "10.0.0.0/8"]).is_loopback());
        assert!(!networks(&["::/0"]).is_loopback());
    }

    #[test]
    fn a_list_that_nobody_wrote_lets_only_the_machine_itself_in() {
        let rules = [Rule::trusted_loopback()];
        assert_eq!(decide(&rules, &client("127.0.0.1", false, "lake", "auric")), Some(Method::Trust));
        assert_eq!(decide(&rules, &client("192.0.2.1", false, "lake", "auric")), None);
        assert_eq!(decide(&rules, &client("192.0.2.1", true, "lake", "auric")), None);
    }
}
