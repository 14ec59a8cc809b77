/**
 * Whether a trusted key has signed a manifest: the form of OpenSSH (`ssh-keygen -Y sign`), Ed25519.
 *
 *     blob   = "SSHSIG" 1 key namespace reserved hash signature      each but the first two with its length before it
 *     signed = "SSHSIG" namespace reserved hash H(manifest)
 */

import { BundleError, RuntimeError } from "./errors.js";

type Bytes = Uint8Array<ArrayBuffer>;

const NAMESPACE = "elsa-edge-bundle";
const KIND = "ssh-ed25519";
const HASHES: Readonly<Record<string, string>> = { sha256: "SHA-256", sha512: "SHA-512" };

/** Check a signature; throws BundleError unless one of the keys (as OpenSSH writes them, `ssh-ed25519 AAAA...`) has made it. */
export async function checkSignature(manifest: Uint8Array, armored: Uint8Array, trustedKeys: readonly string[]): Promise<void> {
  const blob = parts(decoded(text(armored).replace(/-----[A-Z ]+-----|\s/g, "")), 10, 5);
  const [key, namespace, reserved, hash, signature] = blob.parts as [Bytes, Bytes, Bytes, Bytes, Bytes];
  if (text(blob.head) !== "SSHSIG\0\0\0\x01") throw unreadable();
  if (text(namespace) !== NAMESPACE) throw new BundleError("The signature was made for something else than a bundle.");
  if (!trustedKeys.some((line) => text(decoded(line.trim().split(/\s+/)[1] ?? "")) === text(key))) {
    throw new BundleError(`The bundle was signed by a key that is not trusted here. Expected one of ${trustedKeys.length}.`);
  }
  const [[kind, publicKey], [made, proof]] = [parts(key, 0, 2).parts, parts(signature, 0, 2).parts] as [[Bytes, Bytes], [Bytes, Bytes]];
  if (text(kind) !== KIND || text(made) !== KIND) throw new BundleError(`The bundle must be signed by a key of the kind ${KIND}.`);
  const algorithm = Object.hasOwn(HASHES, text(hash)) ? HASHES[text(hash)] : undefined;
  if (algorithm === undefined) throw unreadable();
  const digest = new Uint8Array(await crypto.subtle.digest(algorithm, new Uint8Array(manifest)));
  const signed = [namespace, reserved, hash, digest].flatMap((part) => [...size(part.length), ...part]);
  const message = Uint8Array.of(...new TextEncoder().encode("SSHSIG"), ...signed);
  if (!(await verified(publicKey, proof, message))) {
    throw new BundleError("manifest.json was changed after it was signed. Copy the bundle again.");
  }
}

async function verified(publicKey: Bytes, proof: Bytes, message: Bytes): Promise<boolean> {
  let key: CryptoKey;
  try {
    key = await crypto.subtle.importKey("raw", publicKey, { name: "Ed25519" }, false, ["verify"]);
  } catch {
    throw new RuntimeError(
      "Ed25519 signatures cannot be checked here, and nothing is trusted without it. Use Chrome 137, Firefox 129, Safari 17, " +
        "Node 20 or newer, on a page from HTTPS or localhost.",
    );
  }
  return crypto.subtle.verify({ name: "Ed25519" }, key, proof, message);
}

const text = (bytes: Uint8Array): string => String.fromCharCode(...bytes);
const size = (length: number): number[] => [length >>> 24, (length >>> 16) & 255, (length >>> 8) & 255, length & 255];
const unreadable = (): BundleError => new BundleError("manifest.json.sig is no signature that can be read.");

function decoded(base64: string): Bytes {
  try {
    return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  } catch {
    throw unreadable();
  }
}

/** Split what follows a head of so many bytes into parts, each with its length in four bytes before it. */
function parts(bytes: Bytes, headBytes: number, count: number): { head: Bytes; parts: Bytes[] } {
  const view = new DataView(bytes.buffer);
  const found: Bytes[] = [];
  let at = headBytes;
  for (; found.length < count; at += 4 + found.at(-1)!.length) {
    if (at + 4 > bytes.length || view.getUint32(at) > bytes.length - at - 4) throw unreadable();
    found.push(bytes.slice(at + 4, at + 4 + view.getUint32(at)));
  }
  return { head: bytes.slice(0, headBytes), parts: found };
}
