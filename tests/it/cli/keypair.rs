//! `oncegate keypair`: a provider that keeps its private key can be tried out, and the key of the
//! pair is nobody's but its owner's.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::Shell;
use crate::harness::{App, Gateway, Step, run};

#[test]
fn a_provider_with_a_private_key_can_be_tried_out_with_a_pair_of_our_own() {
    run(async {
        for provider in ["discord-interactions", "sendgrid", "wise"] {
            let app = App::always(Step::says(200, "{}")).await;
            let made = Shell::new("").run(&["keypair", provider, "key.pem"]).await;
            assert!(made.err.contains("--key"), "{}", made.err);
            let (public, target) = (made.out.trim(), &app.url);
            let sources = format!(
                "[sources.tried]\nprovider = \"{provider}\"\nsecrets = [\"{public}\"]\n\
                 target = \"{target}\"\n"
            );
            let gateway = Gateway::start(&sources).await;
            let shell = Shell::of(&gateway, &sources);

            let unsigned = shell.run(&["sign", "tried", "--send"]).await;
            assert_eq!(unsigned.code, 2);
            assert!(unsigned.err.contains("oncegate keypair"), "{}", unsigned.err);
            // Another pair's key signs, and is not taken.
            shell.run(&["keypair", provider, "other.pem"]).await.done();
            let other = ["sign", "tried", "--send", "--key", "other.pem"];
            assert_eq!(shell.run(&other).await.code, 1);
            gateway.finish().await;
        }
    });
}

#[test]
fn the_key_signs_what_its_public_key_takes() {
    run(async {
        let app = App::always(Step::says(200, "{}")).await;
        let shell = Shell::new("");
        let public = shell.run(&["keypair", "wise", "key.pem"]).await.done();
        let file = shell.path().join("key.pem");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let sources = format!(
            "[sources.wise]\nprovider = \"wise\"\nsecrets = [\"{}\"]\ntarget = \"{}\"\n",
            public.trim(),
            app.url
        );
        let gateway = Gateway::start(&sources).await;
        let with_settings = Shell::of(&gateway, &sources);
        let key = file.to_str().unwrap();
        let args = ["sign", "wise", "--key", key, "--id", "a-1", "--send", "--times", "2"];
        let sent = with_settings.run(&args).await.done();
        assert!(sent.contains("1 duplicate, 1 processed"), "{sent}");
        let forged = ["sign", "wise", "--key", key, "--send", "--tamper"];
        with_settings.run(&forged).await.done();
        gateway.finish().await;
    });
}

#[test]
fn what_there_is_no_pair_for_and_what_would_be_overwritten_is_refused() {
    run(async {
        let shell = Shell::new("");
        let shared = shell.run(&["keypair", "stripe", "key.pem"]).await;
        assert_eq!(shared.code, 2);
        assert!(shared.err.contains("no key pair"), "{}", shared.err);
        assert_eq!(shell.run(&["keypair", "strpe", "key.pem"]).await.code, 2);
        shell.run(&["keypair", "ed25519", "key.pem"]).await.done();
        let before = fs::read(shell.path().join("key.pem")).unwrap();
        assert_eq!(shell.run(&["keypair", "ed25519", "key.pem"]).await.code, 1);
        assert_eq!(fs::read(shell.path().join("key.pem")).unwrap(), before);
    });
}
