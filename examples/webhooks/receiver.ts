// Takes webhooks: checks that they come from your server, and deals with each only once.
//
//     WEBHOOK_SECRET=whsec_… node receiver.ts 9000     (Node 23.6 or newer; nothing to install)

import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer, type IncomingHttpHeaders, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";

const SECRET = process.env.WEBHOOK_SECRET ?? "";
const LARGEST = 5_000_000; // bytes
const TOLERANCE = 300; // seconds
const seen = new Set<string>(); // in earnest: a table with a unique column

interface Run {
  id: string;
  status: string;
  output: unknown;
  error: { code: string; message: string } | null;
}

interface Webhook {
  type: string;
  timestamp: string;
  data: Run;
}

/** The id of a webhook that was signed with the secret, not long ago. Throws an Error. */
function verify(secret: string, headers: IncomingHttpHeaders, body: Buffer): string {
  const id = String(headers["webhook-id"] ?? "");
  const timestamp = String(headers["webhook-timestamp"] ?? "");
  const given = String(headers["webhook-signature"] ?? "").split(" ");
  if (!id || !/^\d{1,15}$/.test(timestamp)) throw new Error("a header is missing");
  if (Math.abs(Date.now() / 1000 - Number(timestamp)) > TOLERANCE) throw new Error("too old");
  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  const mac = createHmac("sha256", key).update(`${id}.${timestamp}.`).update(body);
  const wanted = Buffer.from(`v1,${mac.digest("base64")}`);
  const fits = given
    .map((one) => Buffer.from(one))
    .some((one) => one.length === wanted.length && timingSafeEqual(one, wanted));
  if (!fits) throw new Error("no signature fits the body and the secret");
  return id;
}

/** The bytes of a request as they came: JSON written anew may differ. */
async function bytesOf(request: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let size = 0;
  for await (const piece of request) {
    size += piece.length;
    if (size > LARGEST) throw new Error("too large");
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

if (Buffer.from(SECRET.replace(/^whsec_/, ""), "base64").length < 16) {
  throw new Error("WEBHOOK_SECRET is not set to whsec_…");
}

const server = createServer(async (request, response) => {
  try {
    const body = await bytesOf(request);
    const id = verify(SECRET, request.headers, body);
    if (!seen.has(id)) {
      seen.add(id);
      const { type, data }: Webhook = JSON.parse(body.toString("utf8"));
      console.log(type, data.id, JSON.stringify(data.output));
    }
    response.writeHead(204).end();
  } catch (error) {
    console.error(`refused: ${error instanceof Error ? error.message : error}`);
    response.writeHead(400).end();
  }
});

server.listen(Number(process.argv[2]), "127.0.0.1", () => {
  console.log(`listening on port ${(server.address() as AddressInfo).port}`);
});
