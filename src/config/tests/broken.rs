//! What each mistake is told.

use super::*;

fn source(rest: &str) -> String {
    problems(&format!("{STRIPE}{rest}"), &[("STRIPE", SECRET)])
}

/// Every kind of mistake.
const WRONG: &str = r#"
[server]
listn = "127.0.0.1:1"
admin = "0.0.0.0:8080"
max_connections = 0
idle_timeout = 30
public_url = "shop.example"
[storge]
path = "x"
[storage]
cache = "lots"
path = ""
[log]
format = "yaml"
level = "a=b=c"
[sources.Shop_1]
provider = "strpe"
target = "http://127.0.0.1:5000"
[sources.one]
provider = "stripe"
path = "/hooks/two"
secrets = []
target = "/webhooks"
timeout = "30 seconds"
concurrency = "many"
replay_guard = "flagg"
on_unknown = { ask = "http://127.0.0.1:5000/ask" }
[sources.one.verify]
scheme = "none"
[sources.one.retry]
factor = 0.5
first = "1h"
max = "1m"
atempts = 3
[sources.two]
secrets = ["short"]
mode = "direct"
"#;

#[test]
fn every_mistake_is_told_at_once_with_its_line() {
    let shown =
        problems(WRONG, &[("ONCEGATE_SERVER__DRAIN", "2 weeks"), ("ONCEGATE_SERVR__DRAIN", "1s")]);
    insta::assert_snapshot!(shown, @r#"
    config.toml:3: server.listn: is not a setting; did you mean `listen`?
    config.toml:4: server.admin: is open to other machines and has no token; set server.admin_token, or listen on 127.0.0.1 or a unix socket
    config.toml:4: server.admin: is the address of server.listen; the admin listener is yours alone: give it its own port
    config.toml:5: server.max_connections: must be a whole number from 1 to 1000000, not 0
    config.toml:6: server.idle_timeout: 30 is not a duration; write an integer and ms, s, m, h or d, such as "30s"
    config.toml:7: server.public_url: must be an absolute URL that begins with http:// or https://
    config.toml:8: storge: is not a setting; did you mean `storage`?
    config.toml:11: storage.cache: "lots" is not a size; write an integer and KiB, MiB or GiB, such as "1MiB"
    config.toml:12: storage.path: is empty; write the path of a file
    config.toml:14: log.format: must be "auto" or "text" or "json", not "yaml"
    config.toml:15: log.level: "a=b=c" is not a level; write error, warn, info, debug or trace, or a filter such as "oncegate=debug,info"
    config.toml:16: sources.Shop_1: "Shop_1" is not a source's name; use 1 to 40 of a-z, 0-9 and -
    config.toml:17: sources.Shop_1.provider: "strpe" is not a provider; did you mean "stripe"?
    config.toml:22: sources.one.secrets: a source needs a secret; write secrets = [{ env = "NAME" }], or { file = "PATH" } or { credential = "NAME" }
    config.toml:23: sources.one.target: must be an absolute URL that begins with http:// or https://
    config.toml:24: sources.one.timeout: "30 seconds" is not a duration; write an integer and ms, s, m, h or d, such as "30s"
    config.toml:25: sources.one.concurrency: must be a whole number from 1 to 10000, not "many"
    config.toml:26: sources.one.replay_guard: must be "off" or "flag" or "refuse", not "flagg"; did you mean "flag"?
    config.toml:27: sources.one.on_unknown: asking the application is not in this version; write "redeliver" or "hold"
    config.toml:28: sources.one.verify: the preset knows how to verify; remove it, or write provider = "custom"
    config.toml:31: sources.one.retry.factor: must be a number from 1 to 100, not 0.5
    config.toml:33: sources.one.retry.max: is shorter than `first`
    config.toml:34: sources.one.retry.atempts: is not a setting; did you mean `attempts`?
    config.toml:35: sources.two.path: sources one and two are both on /hooks/two; give each its own path
    config.toml:35: sources.two.provider: is missing; name a preset (`oncegate providers` lists them), or "custom"
    config.toml:35: sources.two.target: is missing; write the application's URL
    config.toml:36: sources.two.secrets[0]: the secret is too short: at least 16 bytes are needed
    config.toml:37: sources.two.mode: must be "proxy" or "queue", not "direct"
    ONCEGATE_SERVER__DRAIN: server.drain: "2 weeks" is not a duration; write an integer and ms, s, m, h or d, such as "30s"
    ONCEGATE_SERVR__DRAIN: servr: is not a setting; did you mean `server`?
    "#);
}

#[test]
fn a_custom_source_is_told_what_its_description_lacks() {
    let text = r#"
[sources.a]
provider = "custom"
secrets = ["do_not_show_0123456789"]
target = "http://127.0.0.1:5000"
[sources.b]
provider = "custom"
secrets = ["do_not_show_0123456789"]
target = "http://127.0.0.1:5000"
[sources.b.verify]
scheme = "hmac-md5"
headr = "X-Signature"
encoding = "base46"
[sources.b.key]
parts = ["cookie:id"]
fallback = "colesce"
[sources.c]
provider = "custom"
secrets = ["do_not_show_0123456789"]
target = "http://127.0.0.1:5000"
[sources.c.verify]
scheme = "none"
[sources.c.key]
parts = ["cookie:id"]
[sources.d]
provider = "custom"
secrets = ["do_not_show_0123456789"]
target = "http://127.0.0.1:5000"
[sources.d.verify]
scheme = "hmac-sha256"
[sources.d.key]
"#;
    insta::assert_snapshot!(problems(text, &[]), @r#"
    config.toml:2: sources.a.key: is missing: provider "custom" needs it, with parts; add [sources.a.key]
    config.toml:2: sources.a.verify: is missing: provider "custom" needs it, with scheme and header; add [sources.a.verify]
    config.toml:11: sources.b.verify.scheme: unknown scheme "hmac-md5": there are hmac-sha256, hmac-sha1, hmac-sha512, ed25519, ecdsa-p256-sha256, rsa-sha256, jwt-es256, token, basic, none
    config.toml:12: sources.b.verify.headr: is not a setting; did you mean `header`?
    config.toml:13: sources.b.verify.encoding: "base46" is not one of hex, hex-upper, base64, base64url
    config.toml:15: sources.b.key.parts: has "cookie:id", which is none of header:NAME, json:/pointer, form:NAME, query:NAME, signed:id
    config.toml:16: sources.b.key.fallback: unknown fallback "colesce": there are body, canonical, reject, none and coalesce
    config.toml:19: sources.c.secrets: scheme "none" checks no secret; remove them, or name the scheme
    config.toml:24: sources.c.key.parts: has "cookie:id", which is none of header:NAME, json:/pointer, form:NAME, query:NAME, signed:id
    config.toml:29: sources.d.verify.header: has no header's name in ""
    "#);
}

#[test]
fn a_secret_that_cannot_be_used_is_named_but_never_shown() {
    let text = r"
[server]
admin_token = 12345678901234567890123
";
    assert!(!problems(text, &[]).contains("1234567"));
    insta::assert_snapshot!(problems(text, &[]), @r"
    config.toml:3:15: not TOML: a value cannot be held, such as a number of too many digits
    ");
    let text = r#"
[server]
admin_token = "do_not_show"
[sources.stripe]
provider = "stripe"
target = "http://127.0.0.1:5000"
secrets = [
  { env = "GONE" },
  { env = "EMPTY" },
  { file = "gone" },
  { credential = "stripe" },
  { vault = "do_not_show" },
  { env = "A", file = "b" },
  {},
  123456789012345678,
  "do_not_show",
]
sign_with = ["whsec_do_not_show_this_is_not_base64"]
"#;
    insta::assert_snapshot!(problems(text, &[("EMPTY", "")]), @r#"
    config.toml:3: server.admin_token: the secret is too short: at least 16 bytes are needed
    config.toml:8: sources.stripe.secrets[0]: the environment variable GONE is not set
    config.toml:9: sources.stripe.secrets[1]: the secret is empty
    config.toml:10: sources.stripe.secrets[2]: the secret file gone cannot be read: No such file or directory (os error 2)
    config.toml:11: sources.stripe.secrets[3]: no credential stripe: CREDENTIALS_DIRECTORY is not set; have systemd pass it: LoadCredential=stripe:/path/of/the/secret; in a shell, set CREDENTIALS_DIRECTORY to the folder that it is in
    config.toml:12: sources.stripe.secrets[4]: `vault` is not a place of a secret; known here: env, file, credential
    config.toml:13: sources.stripe.secrets[5]: a secret has one place; write one of env, file and credential
    config.toml:14: sources.stripe.secrets[6]: a secret has one place; write one of env, file and credential
    config.toml:15: sources.stripe.secrets[7]: a secret must be text, not a number; put it in quotes, or write { env = "NAME" }, { file = "PATH" } or { credential = "NAME" }
    config.toml:16: sources.stripe.secrets[8]: the secret is too short: at least 16 bytes are needed
    config.toml:18: sources.stripe.sign_with: has a secret that is not base64
    "#);
}

#[test]
fn what_is_not_toml_is_told_with_line_and_column_but_not_quoted() {
    let text = "[sources.x]\nsecrets = [\"whsec_do_not_show_0123456789]\nprovider = = 1\n";
    insta::assert_snapshot!(problems(text, &[]), @r#"
    config.toml:2:42: not TOML: invalid basic string, expected `"`
    config.toml:3:1: not TOML: missing comma between array elements, expected `,`
    config.toml:3:1: not TOML: string values must be quoted, expected literal string
    config.toml:3:10: not TOML: unexpected `=` in array, expected value, `]`
    config.toml:3:12: not TOML: unexpected `=` in array, expected value, `]`
    config.toml:3:14: not TOML: missing comma between array elements, expected `,`
    config.toml:3:15: not TOML: unclosed array, expected `]`
    "#);
}

#[test]
fn a_named_file_must_be_there() {
    let errors =
        Config::load(Some(Path::new("gone/config.toml")), &Environment::new()).unwrap_err();
    insta::assert_snapshot!(errors, @r"
    gone/config.toml: cannot be read: No such file or directory (os error 2)
    ");
}

#[test]
fn statuses_that_would_mislead_a_provider_are_refused_in_proxy_mode_only() {
    for (mode, status, refused) in [
        ("proxy", "200", true),
        ("queue", "204", true),
        ("proxy", "302", true),
        ("queue", "302", false),
        ("proxy", "409", true),
        ("proxy", "410", true),
        ("queue", "410", false),
        ("proxy", "422", false),
        ("queue", "99", true),
        ("queue", "600", true),
    ] {
        let text = format!("{STRIPE}mode = \"{mode}\"\nfinal = [{status}]");
        let loaded = load_in(&TempDir::new().unwrap(), &text, &env(&[("STRIPE", SECRET)]));
        assert_eq!(loaded.is_err(), refused, "{mode} {status}");
    }
}

#[test]
fn a_path_has_one_spelling() {
    for path in
        ["hooks", "", "/a//b", "/a/../b", "/a/./b", "/a?b", "/a%20b", "/a;b", "/a b", "/ä", "//"]
    {
        let shown = source(&format!("path = \"{path}\""));
        assert!(shown.contains("sources.stripe.path"), "{path}: {shown}");
    }
}

#[test]
fn a_target_is_a_plain_absolute_url() {
    for target in [
        "app:5000",
        "/x",
        "ftp://app/x",
        "http://",
        "http://app/x?y=1",
        "http://app/#x",
        "http://user:do_not_show@app/x",
        "http://127.0.0.1:8080/x",
        "http://localhost:8080/x",
    ] {
        let text = STRIPE.replace("http://127.0.0.1:5000/webhooks", target);
        let shown = problems(&text, &[("STRIPE", SECRET)]);
        assert!(shown.contains("sources.stripe.target"), "{target}: {shown}");
    }
}

#[test]
fn the_admin_listener_needs_a_token_or_loopback_and_an_address_of_its_own() {
    for (text, refused) in [
        ("admin = \"0.0.0.0:1\"", true),
        ("admin = \"[::1]:1\"", false),
        ("admin = \"unix:/run/oncegate/admin.sock\"", false),
        ("admin = \"unix:\"", true),
        ("admin = \"0.0.0.0:1\"\nadmin_token = \"0123456789abcdef\"", false),
        ("admin = \"0.0.0.0:1\"\nadmin_token = \"0123456789abcde\"", true),
        ("admin = \"127.0.0.1:8080\"", true),
        ("listen = \"0.0.0.0:8081\"", true),
        ("listen = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"", false),
    ] {
        let text = format!("[server]\n{text}");
        let loaded = load_in(&TempDir::new().unwrap(), &text, &Environment::new());
        assert_eq!(loaded.is_err(), refused, "{text}");
    }
}

#[test]
fn a_listener_on_every_address_is_no_target_by_a_loopback_name() {
    for (host, refused) in
        [("localhost", true), ("127.0.0.1", true), ("[::1]", true), ("10.0.0.9", false)]
    {
        let text = STRIPE.replace("127.0.0.1:5000", &format!("{host}:8080"));
        let text = format!("[server]\nlisten = \"0.0.0.0:8080\"\n{text}");
        let loaded = load_in(&TempDir::new().unwrap(), &text, &env(&[("STRIPE", SECRET)]));
        assert_eq!(loaded.is_err(), refused, "{host}");
    }
}

#[test]
fn a_section_of_the_wrong_kind_is_told_so() {
    let text = "server = 5\nsources = [1]\nlog = \"debug\"\n";
    insta::assert_snapshot!(problems(text, &[("ONCEGATE_STORAGE__PATH__X", "1")]), @r"
    config.toml:1: server: must be a table, not a number
    config.toml:2: sources: must be a table, not a list
    config.toml:3: log: must be a table, not text
    ONCEGATE_STORAGE__PATH__X: storage.path: must be text, not a table; put it in quotes
    ");
    insta::assert_snapshot!(problems(text, &[("ONCEGATE_SERVER__DRAIN", "x")]), @r#"
    config.toml:2: sources: must be a table, not a list
    config.toml:3: log: must be a table, not text
    ONCEGATE_SERVER__DRAIN: server.drain: "x" is not a duration; write an integer and ms, s, m, h or d, such as "30s"
    "#);
    let text = "[sources]\nstripe = \"stripe\"\n[sources.x]\nprovider = 1\nretry = 2\nfinal = 422\nverify = 3\n";
    insta::assert_snapshot!(problems(text, &[]), @r"
    config.toml:2: sources.stripe: must be a table; write [sources.stripe]
    config.toml:3: sources.x.target: is missing; write the application's URL
    config.toml:4: sources.x.provider: must be text, not a number; put it in quotes
    config.toml:5: sources.x.retry: must be a table, not a number
    config.toml:6: sources.x.final: must be a list of statuses; write one such as [400, 422]
    ");
}

#[test]
fn two_variables_for_one_setting_are_refused() {
    let shown = problems(
        "",
        &[
            ("ONCEGATE_SERVER__DRAIN", "10s"),
            ("ONCEGATE_SERVER__drain", "20s"),
            ("ONCEGATE_LOG__LEVEL__X", "1"),
            ("ONCEGATE_LOG__LEVEL", "debug"),
        ],
    );
    insta::assert_snapshot!(shown, @r"
    ONCEGATE_LOG__LEVEL__X: log.level.x: another variable sets the same setting, or a part of it; keep one of them
    ONCEGATE_SERVER__drain: server.drain: another variable sets the same setting, or a part of it; keep one of them
    ");
}

#[test]
fn a_trusted_proxy_is_a_network_or_an_address_spelled_out() {
    let good = good(
        "[server]\ntrusted_proxies = [\"10.0.0.0/8\", \"192.0.2.7\", \"::1\", \"0.0.0.0/0\"]",
        &[],
    );
    let nets: Vec<_> = good.server.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(nets, ["10.0.0.0/8", "192.0.2.7/32", "::1/128", "0.0.0.0/0"]);
    let warnings = good.report().warnings.join("\n");
    assert!(warnings.contains("trusted_proxies: 0.0.0.0/0 is everyone"), "{warnings}");
    let told = |value: &str| problems(&format!("[server]\ntrusted_proxies = {value}"), &[]);
    insta::assert_snapshot!(
        [
            told("true"),
            told("[10]"),
            told("[\"10.0.0.1/8\"]"),
            told("[\"10.0.0.0/33\"]"),
            told("[\"lb.example\"]"),
        ]
        .join("\n"),
        @r#"
    config.toml:2: server.trusted_proxies: must be a list of networks and addresses; write one such as ["10.0.0.0/8", "::1"]
    config.toml:2: server.trusted_proxies: must be text, not a number; put it in quotes
    config.toml:2: server.trusted_proxies: "10.0.0.1/8" goes beyond its prefix; write "10.0.0.0/8", or one address without a prefix
    config.toml:2: server.trusted_proxies: "10.0.0.0/33" is neither a network nor an address; write one such as "10.0.0.0/8" or "::1"
    config.toml:2: server.trusted_proxies: "lb.example" is neither a network nor an address; write one such as "10.0.0.0/8" or "::1"
    "#
    );
}

#[test]
fn tls_is_a_certificate_and_a_key_that_are_there() {
    let told = |value: &str| problems(&format!("[server]\ntls = {value}"), &[]);
    insta::assert_snapshot!(
        [
            told("true"),
            told("{ cert = \"cert.pem\" }"),
            told("{ cert = \"cert.pem\", key = \"key.pem\" }"),
            told("{ cert = \"\", key = 1, chain = \"chain.pem\" }"),
        ]
        .join("\n"),
        @r#"
    config.toml:2: server.tls: must be a table, not true or false
    config.toml:2: server.tls.cert: is missing; write { cert = "PATH", key = "PATH" }
    config.toml:2: server.tls.key: is missing; write { cert = "PATH", key = "PATH" }
    config.toml:2: server.tls.key: is missing; write { cert = "PATH", key = "PATH" }
    config.toml:2: server.tls.cert: cert.pem cannot be read: No such file or directory (os error 2)
    config.toml:2: server.tls.cert: is empty; write { cert = "PATH", key = "PATH" }
    config.toml:2: server.tls.key: must be text, not a number; put it in quotes
    config.toml:2: server.tls.chain: is not a setting; known here: cert, key
    "#
    );
}

#[test]
fn what_would_silently_do_nothing_is_told() {
    let told = |text: &str| problems(text, &[]);
    insta::assert_snapshot!(
        [
            told("[log]\nlevel = \"loud\""),
            told("[log]\nlevel = \"oncegate=debug,warning\""),
            told("[server]\nadmin_token = \"a token of\\tmany words\""),
            told("[server]\nadmin_token = \"a-token-of-some-length\\n\\n\""),
        ]
        .join("\n"),
        @r#"
    config.toml:2: log.level: "loud" is not a level; write error, warn, info, debug or trace, or a filter such as "oncegate=debug,info"
    config.toml:2: log.level: "oncegate=debug,warning" is not a level; write error, warn, info, debug or trace, or a filter such as "oncegate=debug,info"
    config.toml:2: server.admin_token: has control characters, which no header carries; make a new one of letters and digits
    config.toml:2: server.admin_token: the secret begins or ends with white space; remove it
    "#
    );
}

#[test]
fn a_misspelt_fallback_hides_no_mistake_of_a_part() {
    let text = "[sources.one]\nprovider = \"stripe\"\ntarget = \"http://127.0.0.1:5000\"\n\
        secrets = [{ env = \"STRIPE\" }]\n[sources.one.key]\nfallback = \"canonicl\"\n\
        ignore = [\"/at\"]\nparts = [\"json:id\", \"foo:bar\"]\n";
    insta::assert_snapshot!(problems(text, &[("STRIPE", SECRET)]), @r#"
    config.toml:6: sources.one.key.fallback: unknown fallback "canonicl": there are body, canonical, reject, none and coalesce
    config.toml:8: sources.one.key.parts: has "json:id", which is no JSON pointer (/a/0, with ~0 for ~ and ~1 for /)
    config.toml:8: sources.one.key.parts: has "foo:bar", which is none of header:NAME, json:/pointer, form:NAME, query:NAME, signed:id
    "#);
}

#[test]
fn a_variables_mistake_is_blamed_on_the_variable() {
    let file = "[server]\nlisten = \"127.0.0.1:1\"\n[sources.one]\n";
    let told = |name: &str| problems(file, &[(name, "stripe")]);
    let listen = told("ONCEGATE_SERVER__LISTEN__X");
    assert!(listen.contains("ONCEGATE_SERVER__LISTEN__X: server.listen: must be text"), "{listen}");
    let target = told("ONCEGATE_SOURCES__NEW_ONE__PROVIDER");
    let wanted = "ONCEGATE_SOURCES__NEW_ONE__PROVIDER: sources.new-one.target: is missing";
    assert!(target.contains(wanted), "{target}");
    let other = told("ONCEGATE_SOURCES__ONE__PROVIDER");
    assert!(other.contains("config.toml:3: sources.one.target: is missing"), "{other}");
}

#[test]
fn a_header_that_would_be_dropped_cannot_be_gone_by() {
    let custom = |verify: &str, part: &str| {
        let text = format!(
            "[sources.one]\nprovider = \"custom\"\ntarget = \"http://127.0.0.1:5000\"\n\
             secrets = [{{ env = \"STRIPE\" }}]\n[sources.one.verify]\n\
             scheme = \"hmac-sha256\"\n{verify}\n[sources.one.key]\nparts = [\"{part}\"]\n"
        );
        problems(&text, &[("STRIPE", SECRET)])
    };
    for (verify, part, field) in [
        ("header = \"X_Sign\"", "header:X-Id", "verify.header"),
        ("header = \"X-Sign\"\nsigned = \"{header:x_b}.{body}\"", "header:X-Id", "verify.signed"),
        ("header = \"X-Sign\"", "header:X_Id", "key.parts"),
    ] {
        let shown = custom(verify, part);
        assert_eq!(shown.lines().count(), 1, "{shown}");
        assert!(shown.contains(field) && shown.contains("headers with _"), "{shown}");
    }
}
