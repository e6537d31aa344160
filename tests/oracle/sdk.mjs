// The providers' libraries for Node, asked over lines of JSON:
//   {"do": "verify", "preset", "secret", "request": {url, headers, body}} -> {"done": true | false}
//   {"do": "sign", .., "id", "at"} -> {"done": {headers, body?}}, what is to be added
//   {"do": "examples"} -> {"done": [{event, payload}]}, GitHub's
// A library that refuses by throwing has refused; one that cannot be loaded is an error.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

// The answers are the only output.
console.log = console.info = console.debug = console.error;

const pairs = (form) => Object.fromEntries(new URLSearchParams(form));

// `of` loads the library. A `sign` is there where the library has one.
const sdks = {
  stripe: {
    of: async () => new (await import("stripe")).default("sk_test_oracle").webhooks,
    sign: (it, { secret, at, body }) => ({
      headers: { "stripe-signature": it.generateTestHeaderString({ payload: body, secret, timestamp: at }) },
    }),
    verify: (it, { secret, headers, body }) => it.constructEvent(body, headers["stripe-signature"], secret),
  },
  svix: {
    of: async () => (await import("svix")).Webhook,
    sign: (Webhook, { secret, id, at, body }) => ({
      headers: {
        "svix-id": id,
        "svix-timestamp": `${at}`,
        "svix-signature": new Webhook(secret).sign(id, new Date(at * 1000), body),
      },
    }),
    verify: (Webhook, { secret, headers, body }) => {
      new Webhook(secret).verify(body, headers);
      return true;
    },
  },
  "standard-webhooks": {
    of: async () => (await import("standardwebhooks")).Webhook,
    sign: (Webhook, { secret, id, at, body }) => ({
      headers: {
        "webhook-id": id,
        "webhook-timestamp": `${at}`,
        "webhook-signature": new Webhook(secret).sign(id, new Date(at * 1000), body),
      },
    }),
    verify: (Webhook, { secret, headers, body }) => new Webhook(secret).verify(body, headers),
  },
  github: {
    of: () => import("@octokit/webhooks-methods"),
    sign: async (it, { secret, body }) => ({ headers: { "x-hub-signature-256": await it.sign(secret, body) } }),
    verify: (it, { secret, headers, body }) => it.verify(secret, body, headers["x-hub-signature-256"]),
  },
  slack: {
    of: async () => (await import("@slack/bolt")).verifySlackRequest,
    verify: (verifySlackRequest, { secret, headers, body }) => {
      const stamp = "x-slack-request-timestamp";
      verifySlackRequest({ signingSecret: secret, body, headers: { ...headers, [stamp]: Number(headers[stamp]) } });
      return true;
    },
  },
  shopify: {
    of: async () => {
      await import("@shopify/shopify-api/adapters/node");
      return import("@shopify/shopify-api");
    },
    verify: async (it, { secret, url, headers, body }) => {
      const app = it.shopifyApi({
        apiKey: "oracle",
        apiSecretKey: secret,
        apiVersion: it.LATEST_API_VERSION ?? Object.values(it.ApiVersion).at(-2),
        hostName: "app.example.com",
        isEmbeddedApp: false,
        logger: { level: it.LogSeverity.Error },
      });
      const rawRequest = { method: "POST", url, headers };
      return (await app.webhooks.validate({ rawBody: body, rawRequest, rawResponse: {} })).valid;
    },
  },
  paddle: {
    of: async () => new (await import("@paddle/paddle-node-sdk")).Paddle("oracle").webhooks,
    verify: (it, { secret, headers, body }) => it.isSignatureValid(body, secret, headers["paddle-signature"]),
  },
  razorpay: {
    of: async () => (await import("razorpay")).default,
    verify: (it, { secret, headers, body }) =>
      it.validateWebhookSignature(body, headers["x-razorpay-signature"], secret),
  },
  clerk: {
    of: async () => (await import("@clerk/backend/webhooks")).verifyWebhook,
    verify: (verifyWebhook, { secret, url, headers, body }) =>
      verifyWebhook(new Request(url, { method: "POST", headers, body }), { signingSecret: secret }),
  },
  "coinbase-commerce": {
    of: async () => (await import("coinbase-commerce-node")).default.Webhook,
    sign: (it, { secret, body }) => ({ headers: { "x-cc-webhook-signature": it.computeSignature(body, secret) } }),
    verify: (it, { secret, headers, body }) => it.verifyEventBody(body, headers["x-cc-webhook-signature"], secret),
  },
  "adyen-platform": {
    of: adyen,
    sign: (it, { secret, body }) => ({ headers: { hmacsignature: it.calculateHmac(body, secret) } }),
    verify: (it, { secret, headers, body }) => it.validateHMACSignature(secret, headers.hmacsignature, body),
  },
  "adyen-standard": {
    of: adyen,
    sign: (it, { secret, body }) => {
      const whole = JSON.parse(body);
      for (const { NotificationRequestItem: item } of whole.notificationItems) {
        item.additionalData.hmacSignature = it.calculateHmac(item, secret);
      }
      return { headers: {}, body: JSON.stringify(whole) };
    },
    verify: (it, { secret, body }) =>
      it.validateHMAC(JSON.parse(body).notificationItems[0].NotificationRequestItem, secret),
  },
  twilio: {
    of: async () => (await import("twilio")).default,
    sign: (it, { secret, url, body }) => ({
      headers: { "x-twilio-signature": it.getExpectedTwilioSignature(secret, url, pairs(body)) },
    }),
    verify: (it, { secret, url, headers, body }) =>
      it.validateRequest(secret, headers["x-twilio-signature"], url, pairs(body)),
  },
  square: {
    of: async () => (await import("square")).WebhooksHelper,
    verify: (it, { secret, url, headers, body }) =>
      it.verifySignature({
        requestBody: body,
        signatureHeader: headers["x-square-hmacsha256-signature"],
        signatureKey: secret,
        notificationUrl: url,
      }),
  },
  sendgrid: {
    of: async () => new (await import("@sendgrid/eventwebhook")).EventWebhook(),
    verify: (it, { secret, headers, body }) =>
      it.verifySignature(
        it.convertPublicKeyToECDSA(secret),
        body,
        headers["x-twilio-email-event-webhook-signature"],
        headers["x-twilio-email-event-webhook-timestamp"],
      ),
  },
  hubspot: {
    of: async () => (await import("@hubspot/api-client")).Signature,
    sign: (it, { secret, url, at, body }) => {
      const timestamp = at * 1000;
      const options = { clientSecret: secret, url, requestBody: body, timestamp };
      return {
        headers: {
          "x-hubspot-request-timestamp": `${timestamp}`,
          "x-hubspot-signature-v3": it.getSignature("POST", "v3", options),
        },
      };
    },
    verify: (it, { secret, url, headers, body }) =>
      it.isValid({
        signatureVersion: "v3",
        signature: headers["x-hubspot-signature-v3"],
        clientSecret: secret,
        url,
        requestBody: body,
        timestamp: Number(headers["x-hubspot-request-timestamp"]),
      }),
  },
  "discord-interactions": {
    of: async () => (await import("discord-interactions")).verifyKey,
    verify: (verifyKey, { secret, headers, body }) =>
      verifyKey(body, headers["x-signature-ed25519"], headers["x-signature-timestamp"], secret),
  },
  linear: {
    of: async () => (await import("@linear/sdk/webhooks")).LinearWebhookClient,
    verify: (Client, { secret, headers, body }) =>
      new Client(secret).verify(Buffer.from(body), headers["linear-signature"]),
  },
  easypost: {
    of: async () => new (await import("@easypost/api")).default("oracle").Utils,
    verify: (it, { secret, headers, body }) => it.validateWebhook(Buffer.from(body), headers, secret),
  },
  gocardless: {
    of: () => import("gocardless-nodejs/webhooks"),
    verify: (it, { secret, headers, body }) => it.parse(body, secret, headers["webhook-signature"]),
  },
};

async function adyen() {
  return new (await import("@adyen/api-library")).hmacValidator();
}

async function answer({ do: what, preset, request, ...rest }) {
  if (what === "examples") {
    const events = createRequire(import.meta.url)("@octokit/webhooks-examples");
    return events.flatMap(({ name, examples }) => examples.map((it) => ({ event: name, payload: JSON.stringify(it) })));
  }
  const sdk = sdks[preset];
  sdk.loaded ??= await sdk.of();
  if (what === "sign") return sdk.sign(sdk.loaded, { ...rest, ...request });
  try {
    return Boolean(await sdk.verify(sdk.loaded, { ...rest, ...request }));
  } catch (why) {
    console.debug(`${preset} refused: ${why?.message ?? why}`);
    return false;
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  let told;
  try {
    told = { done: await answer(JSON.parse(line)) };
  } catch (why) {
    told = { error: `${why?.stack ?? why}` };
  }
  process.stdout.write(`${JSON.stringify(told)}\n`);
}
