"""The providers' libraries for Python: how each signs and verifies. Node's are in `sdk.mjs`.

`X_sign` is (request, secret, at, id) -> request; `X_verify` is (request, secret) -> whether it is
right, and may raise instead. `X_by_hand` signs where no library does.
"""

import base64
import functools
import hashlib
import hmac
import json
from datetime import datetime, timezone
from urllib.parse import parse_qsl, urlencode

import Adyen.util
import braintree
import coinbase_commerce.webhook
import easypost
import gidgethub.sansio
import gocardless_pro.webhooks
import razorpay
import resend
import sendgrid.helpers.eventwebhook
import slack_sdk.signature
import square.utils.webhooks_helper
import standardwebhooks
import stripe
import svix.webhooks
import twilio.request_validator
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from mailgun.security import SecurityGuard
from mollie.utils.webhooks import SignatureValidator
from paddle_billing.Notifications.PaddleSignature import PaddleSignature
from paddle_billing.Notifications.Secret import Secret


def moment(at):
    return datetime.fromtimestamp(at, timezone.utc)


def mac(secret, message):
    return hmac.new(secret.encode(), message.encode(), hashlib.sha256)


def base64_of(data):
    return base64.b64encode(data).decode()


def fields_of(request):
    return dict(parse_qsl(request.body, keep_blank_values=True))


def standard(webhook, family):
    """How Standard Webhooks and Svix sign and verify."""

    def sign(request, secret, at, event_id):
        signature = webhook(secret).sign(event_id, moment(at), request.body)
        stamps = {f"{family}-id": event_id, f"{family}-timestamp": str(at)}
        return request.having({**stamps, f"{family}-signature": signature})

    def verify(request, secret):
        webhook(secret).verify(request.body, request.headers)
        return True

    return sign, verify


svix_sign, svix_verify = standard(svix.webhooks.Webhook, "svix")
standard_sign, standard_verify = standard(standardwebhooks.Webhook, "webhook")
# BigCommerce's secret is no base64.
raw_sign, raw_verify = standard(
    lambda secret: standardwebhooks.Webhook(secret.encode()), "webhook"
)


def stripe_sign(request, secret, at, _id):
    signed = stripe.WebhookSignature.generate_signature_header(request.body, secret, at)
    return request.having({"stripe-signature": signed})


def stripe_verify(request, secret):
    signature = request.headers["stripe-signature"]
    return stripe.Webhook.construct_event(request.body, signature, secret)


def github_verify(request, secret):
    signature = request.headers["x-hub-signature-256"]
    gidgethub.sansio.validate_event(request.body.encode(), signature=signature, secret=secret)
    return True


def slack_sign(request, secret, at, _id):
    verifier = slack_sdk.signature.SignatureVerifier(secret)
    signature = verifier.generate_signature(timestamp=str(at), body=request.body)
    return request.having({"x-slack-request-timestamp": str(at), "x-slack-signature": signature})


def slack_verify(request, secret):
    verifier = slack_sdk.signature.SignatureVerifier(secret)
    return verifier.is_valid_request(request.body, request.headers)


def paddle_sign(request, secret, at, _id):
    signed = PaddleSignature.calculate_hmac(secret, f"{at}:{request.body}".encode()).hexdigest()
    return request.having({"paddle-signature": f"ts={at};h1={signed}"})


def paddle_verify(request, secret):
    signature = request.headers["paddle-signature"]
    return PaddleSignature().verify(signature, request.body, Secret(secret))


def razorpay_verify(request, secret):
    utility = razorpay.Client(auth=("oracle", "oracle")).utility
    signature = request.headers["x-razorpay-signature"]
    return utility.verify_webhook_signature(request.body, signature, secret)


def resend_verify(request, secret):
    headers = {it: request.headers[f"svix-{it}"] for it in ("id", "timestamp", "signature")}
    given = {"payload": request.body, "headers": headers, "webhook_secret": secret}
    return resend.Webhooks.verify(given)


def coinbase_verify(request, secret):
    signature = request.headers["x-cc-webhook-signature"]
    webhook = coinbase_commerce.webhook.Webhook
    return webhook.construct_event(request.body, signature, secret) is not None


def mollie_sign(request, secret, _at, _id):
    signature = SignatureValidator.create_signature(request.body, secret)
    return request.having({"x-mollie-signature": f"sha256={signature}"})


def mollie_verify(request, secret):
    signature = request.headers["x-mollie-signature"]
    return SignatureValidator.validate(request.body, secret, signature)


def adyen_platform_sign(request, secret, _at, _id):
    signature = Adyen.util.generate_payload_sig(request.body.encode(), secret).decode()
    return request.having({"hmacsignature": signature, "protocol": "HmacSHA256"})


def adyen_platform_verify(request, secret):
    signature = request.headers["hmacsignature"]
    return Adyen.util.is_valid_hmac_payload(signature, secret, request.body.encode())


def adyen_standard_sign(request, secret, _at, _id):
    whole = json.loads(request.body)
    for each in whole["notificationItems"]:
        item = each["NotificationRequestItem"]
        signature = Adyen.util.generate_notification_sig(item, secret).decode()
        item["additionalData"]["hmacSignature"] = signature
    return request.saying(json.dumps(whole))


def adyen_standard_verify(request, secret):
    return Adyen.util.is_valid_hmac_notification(json.loads(request.body), secret)


def twilio_sign(request, secret, _at, _id):
    validator = twilio.request_validator.RequestValidator(secret)
    signature = validator.compute_signature(request.url, fields_of(request))
    return request.having({"x-twilio-signature": signature})


def twilio_verify(request, secret):
    validator = twilio.request_validator.RequestValidator(secret)
    signature = request.headers["x-twilio-signature"]
    return validator.validate(request.url, fields_of(request), signature)


def square_verify(request, secret):
    return square.utils.webhooks_helper.verify_signature(
        request_body=request.body,
        signature_header=request.headers["x-square-hmacsha256-signature"],
        signature_key=secret,
        notification_url=request.url,
    )


def private(key):
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(pem, pkcs8, serialization.NoEncryption()).decode()


def loaded(pem):
    return serialization.load_pem_private_key(pem.encode(), None)


SENDGRID = "x-twilio-email-event-webhook-"


def sendgrid_public(pem):
    der, spki = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    return base64_of(loaded(pem).public_key().public_bytes(der, spki))


def sendgrid_by_hand(request, pem, at, _id):
    signature = loaded(pem).sign(f"{at}{request.body}".encode(), ec.ECDSA(hashes.SHA256()))
    stamp = {SENDGRID + "timestamp": str(at)}
    return request.having({**stamp, SENDGRID + "signature": base64_of(signature)})


def sendgrid_verify(request, public):
    hook = sendgrid.helpers.eventwebhook.EventWebhook(public)
    signature, at = (request.headers[SENDGRID + it] for it in ("signature", "timestamp"))
    return hook.verify_signature(request.body, signature, at)


def discord_public(pem):
    raw = serialization.Encoding.Raw, serialization.PublicFormat.Raw
    return loaded(pem).public_key().public_bytes(*raw).hex()


def discord_by_hand(request, pem, at, _id):
    signature = loaded(pem).sign(f"{at}{request.body}".encode()).hex()
    stamp = {"x-signature-timestamp": str(at)}
    return request.having({**stamp, "x-signature-ed25519": signature})


def linear_by_hand(request, secret, at, _id):
    body = request.body.replace("{timestamp}", str(at * 1000))
    return request.having({"linear-signature": mac(secret, body).hexdigest()}).saying(body)


def mailgun_by_hand(request, secret, at, _id):
    token = json.loads(request.body)["signature"]["token"]
    body = request.body.replace("{timestamp}", str(at))
    return request.saying(body.replace("{signature}", mac(secret, f"{at}{token}").hexdigest()))


def mailgun_verify(request, secret):
    given = json.loads(request.body)["signature"]
    token, at, signature = (given[it] for it in ("token", "timestamp", "signature"))
    return SecurityGuard.verify_webhook(secret, token, at, signature)


def easypost_verify(request, secret):
    # It takes the header in this spelling only.
    headers = {"X-Hmac-Signature": request.headers["x-hmac-signature"]}
    return easypost.validate_webhook(request.body.encode(), headers, secret)


def gocardless_verify(request, secret):
    signature = request.headers["webhook-signature"]
    return gocardless_pro.webhooks.parse(request.body, secret, signature)


BRAINTREE = "oracle_public_key"
BRAINTREE_SECRET = "oracle_private_key_of_braintree"


def braintree_gateway(secret):
    named = {"merchant_id": "oracle", "public_key": BRAINTREE, "private_key": secret}
    sandbox = braintree.Environment.Sandbox
    return braintree.BraintreeGateway(braintree.Configuration(sandbox, **named))


# A notification has the second it was made in it: the same event is the same text.
@functools.cache
def braintree_sample(secret, event_id):
    kind = braintree.WebhookNotification.Kind.SubscriptionWentPastDue
    made = braintree_gateway(secret).webhook_testing.sample_notification(kind, event_id)
    return {"bt_signature": made["bt_signature"], "bt_payload": made["bt_payload"]}


def braintree_sign(request, secret, _at, event_id):
    return request.saying(urlencode(braintree_sample(secret, event_id)))


def braintree_verify(request, secret):
    given = fields_of(request)
    gateway = braintree_gateway(secret).webhook_notification
    return gateway.parse(given["bt_signature"], given["bt_payload"]) is not None
