"""The providers: an event of each, its secrets, its libraries, and what is peculiar.

What a library does not refuse is written down here, and the oracle checks that it is so.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from libraries import *

# What must be in the binary. CI fails for each that is not.
REQUIRED = """
    adyen-platform adyen-standard bigcommerce braintree clerk coinbase-commerce
    discord-interactions easypost github gitlab-signed gocardless hubspot linear mailgun
    mollie-next paddle razorpay resend sendgrid shopify slack square standard-webhooks stripe svix
    twilio
""".split()


@dataclass(frozen=True)
class Sdk:
    """A library. Node's are asked by the preset, and have neither `sign` nor `verify` here."""

    package: str
    # (request, secret) -> whether it is right; or it raises.
    verify: Callable | None = None
    # (request, secret, at, id) -> request. True: Node's signs. None: it can only verify.
    sign: Callable | bool | None = None
    # Why it takes what is an hour old; None: it refuses it.
    no_stale: str | None = None

    @property
    def node(self):
        return self.verify is None


@dataclass(frozen=True)
class Provider:
    preset: str
    sdks: list
    # (id, at) -> (headers, body). What is in the body that is not known yet is {timestamp} and
    # {signature}, for `oncegate sign` too.
    event: Callable
    secret: str
    # As good a secret, but not the one of the settings.
    other: str
    # Whether the scheme has a timestamp, and what is too old, in hours.
    stamped: bool = False
    stale: int = 1
    # (request, secret, at, id) -> request, of a stamped scheme where a library cannot sign.
    by_hand: Callable | None = None
    # The group is the byte to change: one that is signed.
    tamper: bytes = rb"(?s).*(\d)"
    # What the settings have of the secret, where it is a private key.
    public: Callable = str
    asymmetric: bool = False
    key_id: str | None = None
    covers_url: bool = False
    # Where in the body the array is of which each element is an event; "" is the body.
    batch: str | None = None
    # By what an event is known in a batch, of its id.
    mark: Callable = str


def iso(at):
    return moment(at).strftime("%Y-%m-%dT%H:%M:%SZ")


def sends(body, **headers):
    """An event of this JSON. A header's value may have {id}, a name is written with `_`."""

    def event(event_id, at):
        named = {"content-type": "application/json"}
        for name, value in headers.items():
            named[name.replace("_", "-")] = value.replace("{id}", event_id)
        text = json.dumps(body(event_id, at), separators=(",", ":"), ensure_ascii=False)
        # Linear's is a number.
        return named, text.replace('Timestamp":"{timestamp}"', 'Timestamp":{timestamp}')

    return event


def form(fields, **headers):
    def event(event_id, at):
        named, _ = sends(lambda *_: None, **headers)(event_id, at)
        named["content-type"] = "application/x-www-form-urlencoded"
        return named, urlencode(fields(event_id, at))

    return event


def braintree_event(event_id, _at):
    payload = quote(braintree_sample(BRAINTREE_SECRET, event_id)["bt_payload"])
    headers = {"content-type": "application/x-www-form-urlencoded"}
    return headers, "bt_signature={signature}&bt_payload=" + payload


def secret_of(text):
    """A secret in base64, as Standard Webhooks has them."""
    return "whsec_" + base64_of(hashlib.sha256(text.encode()).digest())


def hex_of(text):
    return hashlib.sha256(text.encode()).hexdigest().upper()


PROVIDERS = [
    Provider(
        "stripe",
        [
            Sdk("stripe", stripe_verify, stripe_sign),
            Sdk("stripe", sign=True),
        ],
        sends(
            lambda id, at: {
                "id": f"evt_{id}",
                "object": "event",
                "created": at,
                "type": "payment_intent.succeeded",
                "data": {"object": {"id": "pi_3", "amount": 2000, "description": "Café, 2 ×"}},
            }
        ),
        secret="whsec_oracle_of_stripe",
        other="whsec_another_of_stripe",
        stamped=True,
    ),
    Provider(
        "svix",
        [Sdk("svix", svix_verify, svix_sign), Sdk("svix", sign=True)],
        sends(lambda id, at: {"type": "invoice.paid", "timestamp": iso(at), "data": {"n": 7}}),
        secret=secret_of("svix"),
        other=secret_of("another svix"),
        stamped=True,
    ),
    Provider(
        "standard-webhooks",
        [
            Sdk("standardwebhooks", standard_verify, standard_sign),
            Sdk("standardwebhooks", sign=True),
        ],
        sends(lambda id, at: {"type": "user.created", "timestamp": iso(at), "data": {"n": 7}}),
        secret=secret_of("standard"),
        other=secret_of("another standard"),
        stamped=True,
    ),
    Provider(
        "gitlab-signed",
        [Sdk("standardwebhooks", standard_verify, standard_sign)],
        sends(
            lambda id, at: {"object_kind": "push", "ref": "refs/heads/main", "project_id": 15},
            x_gitlab_event="Push Hook",
        ),
        secret=secret_of("gitlab"),
        other=secret_of("another gitlab"),
        stamped=True,
    ),
    Provider(
        "bigcommerce",
        [Sdk("standardwebhooks", raw_verify, raw_sign)],
        sends(
            lambda id, at: {
                "scope": "store/order/created",
                "store_id": "1025646",
                "created_at": at,
                "data": {"type": "order", "id": 250},
            }
        ),
        secret="oracle-of-bigcommerce-client-secret",
        other="another-bigcommerce-client-secret",
        stamped=True,
    ),
    Provider(
        "github",
        [Sdk("gidgethub", github_verify), Sdk("@octokit/webhooks-methods", sign=True)],
        sends(
            lambda id, at: {"action": "opened", "issue": {"number": 7, "title": "Naïve “quotes”"}},
            x_github_event="issues",
            x_github_delivery="{id}",
        ),
        secret="oracle-of-github",
        other="another-of-github",
    ),
    Provider(
        "slack",
        [Sdk("slack_sdk", slack_verify, slack_sign), Sdk("@slack/bolt")],
        sends(
            lambda id, at: {
                "type": "event_callback",
                "event_id": f"Ev{id}",
                "event_time": at,
                "event": {"type": "app_mention", "text": "hello 👋", "ts": "1764000000.0001"},
            }
        ),
        secret="oracle-of-slack-signing-secret",
        other="another-slack-signing-secret",
        stamped=True,
        by_hand=slack_sign,
    ),
    Provider(
        "shopify",
        [Sdk("@shopify/shopify-api")],
        sends(
            lambda id, at: {"id": 820982911946154508, "name": "#9999", "total_price": "398.00"},
            x_shopify_topic="orders/create",
            x_shopify_webhook_id="{id}",
        ),
        secret="oracle-of-shopify-client-secret",
        other="another-shopify-client-secret",
    ),
    Provider(
        "paddle",
        [
            Sdk(
                "paddle-python-sdk",
                paddle_verify,
                paddle_sign,
                # Verifier's check of the age adds a number to a text, and raises TypeError.
                no_stale="sdk has none",
            ),
            # Its limit is 5 s.
            Sdk("@paddle/paddle-node-sdk"),
        ],
        sends(
            lambda id, at: {
                "event_id": f"evt_{id}",
                "event_type": "transaction.completed",
                "occurred_at": iso(at),
                "data": {"id": "txn_01", "status": "completed", "total": "1200"},
            }
        ),
        secret="pdl_ntfset_oracle_of_paddle",
        other="pdl_ntfset_another_of_paddle",
        stamped=True,
        by_hand=paddle_sign,
    ),
    Provider(
        "razorpay",
        [Sdk("razorpay", razorpay_verify), Sdk("razorpay")],
        sends(
            lambda id, at: {
                "event": "payment.captured",
                "payload": {"payment": {"entity": {"id": "pay_1", "amount": 50000}}},
                "created_at": at,
            },
            x_razorpay_event_id="{id}",
        ),
        secret="oracle-of-razorpay",
        other="another-of-razorpay",
    ),
    Provider(
        "resend",
        [Sdk("resend", resend_verify)],
        sends(lambda id, at: {"type": "email.delivered", "created_at": iso(at), "data": {"n": 7}}),
        secret=secret_of("resend"),
        other=secret_of("another resend"),
        stamped=True,
        by_hand=svix_sign,
    ),
    Provider(
        "clerk",
        [Sdk("@clerk/backend")],
        sends(lambda id, at: {"type": "user.created", "timestamp": at, "data": {"id": "user_7"}}),
        secret=secret_of("clerk"),
        other=secret_of("another clerk"),
        stamped=True,
        by_hand=svix_sign,
    ),
    Provider(
        "coinbase-commerce",
        [
            Sdk("coinbase-commerce", coinbase_verify),
            Sdk("coinbase-commerce-node", sign=True),
        ],
        sends(
            lambda id, at: {
                "id": 1,
                "attempt_number": 1,
                "event": {"id": id, "type": "charge:confirmed", "data": {"code": "66BEOV2A"}},
            }
        ),
        secret="oracle-of-coinbase-commerce",
        other="another-of-coinbase-commerce",
    ),
    Provider(
        "mollie-next",
        [Sdk("mollie-api-py", mollie_verify, mollie_sign)],
        sends(
            lambda id, at: {
                "resource": "event",
                "id": f"event_{id}",
                "type": "payment-link.paid",
                "createdAt": "2026-11-24T12:00:00+00:00",
            }
        ),
        secret="oracle-of-mollie",
        other="another-of-mollie",
    ),
    Provider(
        "adyen-platform",
        [
            Sdk("Adyen", adyen_platform_verify, adyen_platform_sign),
            Sdk("@adyen/api-library", sign=True),
        ],
        sends(
            lambda id, at: {
                "type": "balancePlatform.transfer.updated",
                "timestamp": "2026-11-24T12:00:00+01:00",
                "data": {"id": id, "amount": {"currency": "EUR", "value": 1000}},
            }
        ),
        secret=hex_of("adyen-platform"),
        other=hex_of("another adyen-platform"),
    ),
    Provider(
        "adyen-standard",
        [
            Sdk("Adyen", adyen_standard_verify, adyen_standard_sign),
            Sdk("@adyen/api-library", sign=True),
        ],
        sends(
            lambda id, at: {
                "live": "false",
                "notificationItems": [
                    {
                        "NotificationRequestItem": {
                            "amount": {"currency": "EUR", "value": 1130},
                            "eventCode": "AUTHORISATION",
                            "eventDate": "2026-11-24T12:00:00+01:00",
                            "merchantAccountCode": "TestMerchant",
                            "merchantReference": "order:17",
                            "pspReference": id,
                            "success": "true",
                            "additionalData": {"hmacSignature": "{signature}"},
                        }
                    }
                ],
            }
        ),
        secret=hex_of("adyen-standard"),
        other=hex_of("another adyen-standard"),
        # Only eight fields are signed.
        tamper=rb'"value":\s*(\d)',
        batch="notificationItems",
    ),
    Provider(
        "twilio",
        [Sdk("twilio", twilio_verify, twilio_sign), Sdk("twilio", sign=True)],
        form(
            lambda id, at: {
                "MessageSid": f"SM{id}",
                "MessageStatus": "delivered",
                "From": "+14158675309",
                "Body": "a & b = é",
                "Empty": "",
                "AccountSid": "AC123",
            },
            i_twilio_idempotency_token="{id}",
        ),
        secret="oracle0of0twilio0auth0token00000",
        other="another0twilio0auth0token0000000",
        covers_url=True,
    ),
    Provider(
        "square",
        [Sdk("squareup", square_verify), Sdk("square")],
        sends(
            lambda id, at: {
                "merchant_id": "MLEFBHHSJGVHD",
                "type": "payment.created",
                "event_id": id,
                "created_at": iso(at),
                "data": {"type": "payment", "id": "KkAkhdMsgzn59SM8A89WgKwekxLZY"},
            }
        ),
        secret="oracle-of-square",
        other="another-of-square",
        covers_url=True,
    ),
    Provider(
        "sendgrid",
        [
            Sdk("sendgrid", sendgrid_verify, no_stale="sdk has none"),
            Sdk("@sendgrid/eventwebhook", no_stale="sdk has none"),
        ],
        sends(
            lambda id, at: [
                {"email": "test@example.com", "timestamp": at, "event": "open", "sg_event_id": id}
            ]
        ),
        secret=private(ec.generate_private_key(ec.SECP256R1())),
        other=private(ec.generate_private_key(ec.SECP256R1())),
        stamped=True,
        # The tolerance is past the retries, 30 h: they may have the first one's time.
        stale=31,
        by_hand=sendgrid_by_hand,
        public=sendgrid_public,
        asymmetric=True,
        batch="",
    ),
    Provider(
        "hubspot",
        [Sdk("@hubspot/api-client", sign=True)],
        sends(
            lambda id, at: [
                {
                    "eventId": int(id[:8], 16),
                    "subscriptionId": 1234,
                    "portalId": 62515,
                    "appId": 54321,
                    "occurredAt": 1764000000000,
                    "subscriptionType": "contact.creation",
                    "attemptNumber": 0,
                    "objectId": int(id[8:16], 16),
                }
            ]
        ),
        secret="oracle-of-hubspot-client-secret",
        other="another-hubspot-client-secret",
        stamped=True,
        covers_url=True,
        batch="",
        mark=lambda id: str(int(id[8:16], 16)),
    ),
    Provider(
        "discord-interactions",
        [Sdk("discord-interactions", no_stale="sdk has none")],
        sends(
            lambda id, at: {
                "id": str(int(id[:15], 16)),
                "application_id": "1",
                "type": 2,
                "token": "oracle",
                "data": {"id": "3", "name": "hello", "type": 1},
            }
        ),
        secret=private(ed25519.Ed25519PrivateKey.generate()),
        other=private(ed25519.Ed25519PrivateKey.generate()),
        stamped=True,
        by_hand=discord_by_hand,
        public=discord_public,
        asymmetric=True,
    ),
    Provider(
        "linear",
        [Sdk("@linear/sdk")],
        sends(
            lambda id, at: {
                "action": "update",
                "type": "Issue",
                "createdAt": iso(at),
                "data": {"id": id, "title": "Naïve"},
                "organizationId": "org",
                "webhookId": "hook",
                "webhookTimestamp": "{timestamp}",
            },
            linear_delivery="{id}",
            linear_event="Issue",
        ),
        secret="lin_wh_oracle_of_linear",
        other="lin_wh_another_of_linear",
        stamped=True,
        by_hand=linear_by_hand,
    ),
    Provider(
        "mailgun",
        [Sdk("mailgun", mailgun_verify)],
        sends(
            lambda id, at: {
                "signature": {
                    "token": hashlib.sha256(id.encode()).hexdigest()[:50],
                    "timestamp": "{timestamp}",
                    "signature": "{signature}",
                },
                "event-data": {"id": id, "event": "delivered", "timestamp": 1764000000.5},
            }
        ),
        secret="oracle-of-mailgun-signing-key",
        other="another-mailgun-signing-key",
        stamped=True,
        # The tolerance is past the retries, 9 h; the library's is 15 minutes.
        stale=10,
        by_hand=mailgun_by_hand,
        # The event itself is not signed.
        tamper=rb'"token":\s*"(\w)',
    ),
    Provider(
        "easypost",
        [Sdk("easypost", easypost_verify), Sdk("@easypost/api")],
        # Node's library writes a whole number of "weight" anew, which ours does not have.
        sends(
            lambda id, at: {
                "id": f"evt_{id}",
                "object": "Event",
                "description": "tracker.updated",
                "result": {"id": "trk_1", "status": "delivered"},
            }
        ),
        # Both are normalised: the e and its accent become two letters.
        secret="oracle-of-easypost-sécret",
        other="another-of-easypost-sécret",
    ),
    Provider(
        "gocardless",
        [Sdk("gocardless_pro", gocardless_verify), Sdk("gocardless-nodejs")],
        sends(
            lambda id, at: {
                "events": [
                    {
                        "id": f"EV{id}",
                        "created_at": iso(at),
                        "resource_type": "payments",
                        "action": "confirmed",
                        "links": {"payment": "PM123"},
                    }
                ],
                "meta": {"webhook_id": "WB123"},
            }
        ),
        secret="oracle-of-gocardless",
        other="another-of-gocardless",
        batch="events",
    ),
    Provider(
        "braintree",
        [Sdk("braintree", braintree_verify, braintree_sign)],
        braintree_event,
        secret=BRAINTREE_SECRET,
        other="another_private_key_of_braintree",
        tamper=rb"bt_payload=(\w)",
        key_id=BRAINTREE,
    ),
]

assert sorted(it.preset for it in PROVIDERS) == sorted(REQUIRED)
