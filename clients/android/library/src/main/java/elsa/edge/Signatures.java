package elsa.edge;

import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.security.PublicKey;
import java.security.Signature;
import java.security.spec.X509EncodedKeySpec;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;

/**
 * Whether a trusted key has signed a manifest: the form of OpenSSH ({@code ssh-keygen -Y sign}), Ed25519.
 *
 * <pre>
 * blob   = "SSHSIG" 1 key namespace reserved hash signature          each but the first two with its length before it
 * signed = "SSHSIG" namespace reserved hash H(manifest)
 * </pre>
 */
final class Signatures {
  private static final String NAMESPACE = "elsa-edge-bundle";
  private static final byte[] MAGIC = "SSHSIG".getBytes(StandardCharsets.US_ASCII);
  private static final byte[] ED25519 = "ssh-ed25519".getBytes(StandardCharsets.US_ASCII);
  /** What stands before the 32 bytes of an Ed25519 key in X.509. */
  private static final byte[] X509 = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};

  private Signatures() {}

  static void check(byte[] manifest, byte[] armored, List<String> trustedKeys) {
    try {
      checkOrThrow(manifest, armored, trustedKeys);
    } catch (NoSuchAlgorithmException error) {
      throw new UnavailableException("This device's Java cannot check Ed25519 signatures, and nothing is trusted without"
          + " it. Add a security provider that can (Conscrypt, BouncyCastle), or ship the bundle inside the application,"
          + " whose own signature covers it.", error);
    } catch (GeneralSecurityException | BufferUnderflowException | IllegalArgumentException error) {
      throw new BundleException("manifest.json.sig is no signature that can be read.", error);
    }
  }

  private static void checkOrThrow(byte[] manifest, byte[] armored, List<String> trustedKeys)
      throws GeneralSecurityException {
    String text = new String(armored, StandardCharsets.US_ASCII).replaceAll("-----[A-Z ]+-----|\\s", "");
    ByteBuffer blob = ByteBuffer.wrap(Base64.getDecoder().decode(text));
    byte[] magic = new byte[MAGIC.length];
    blob.get(magic);
    if (!Arrays.equals(magic, MAGIC) || blob.getInt() != 1) throw new IllegalArgumentException("no SSHSIG");
    byte[] key = part(blob);
    byte[] namespace = part(blob);
    byte[] reserved = part(blob);
    byte[] hash = part(blob);
    ByteBuffer signature = ByteBuffer.wrap(part(blob));
    if (!NAMESPACE.equals(new String(namespace, StandardCharsets.UTF_8))) {
      throw new BundleException("The signature was made for something else than a bundle.");
    }
    if (!isTrusted(key, trustedKeys)) {
      throw new BundleException("The bundle was signed by a key that is not trusted here. Expected one of "
          + trustedKeys.size() + ".");
    }
    ByteBuffer keyParts = ByteBuffer.wrap(key);
    if (!Arrays.equals(part(keyParts), ED25519) || !Arrays.equals(part(signature), ED25519)) {
      throw new BundleException("The bundle must be signed by a key of the kind ssh-ed25519.");
    }
    String algorithm = new String(hash, StandardCharsets.US_ASCII);
    if (!algorithm.equals("sha512") && !algorithm.equals("sha256")) throw new IllegalArgumentException(algorithm);
    byte[] digest = MessageDigest.getInstance(algorithm.equals("sha512") ? "SHA-512" : "SHA-256").digest(manifest);
    Signature check = Signature.getInstance("Ed25519");
    check.initVerify(publicKey(part(keyParts)));
    check.update(MAGIC);
    for (byte[] signed : new byte[][] {namespace, reserved, hash, digest}) {
      check.update(ByteBuffer.allocate(4).putInt(signed.length).array());
      check.update(signed);
    }
    if (!check.verify(part(signature))) {
      throw new BundleException("manifest.json was changed after it was signed. Copy the bundle again.");
    }
  }

  private static boolean isTrusted(byte[] key, List<String> trustedKeys) {
    for (String line : trustedKeys) {
      String[] words = line.trim().split("\\s+");
      if (words.length >= 2 && Arrays.equals(Base64.getDecoder().decode(words[1]), key)) return true;
    }
    return false;
  }

  private static PublicKey publicKey(byte[] key) throws GeneralSecurityException {
    byte[] encoded = Arrays.copyOf(X509, X509.length + key.length);
    System.arraycopy(key, 0, encoded, X509.length, key.length);
    return KeyFactory.getInstance("Ed25519").generatePublic(new X509EncodedKeySpec(encoded));
  }

  private static byte[] part(ByteBuffer from) {
    int length = from.getInt();
    if (length < 0 || length > from.remaining()) throw new BufferUnderflowException();
    byte[] bytes = new byte[length];
    from.get(bytes);
    return bytes;
  }
}
