package elsa.edge;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Collections;
import java.util.List;

/**
 * A bundle: its manifest, and its files, each compared with its size and SHA-256 before anything else sees it.
 *
 * <p>Nothing in it is trusted: a path may not leave it, and a file that is not listed is never read.
 */
public final class Bundle {
  private static final int LARGEST_MANIFEST_BYTES = 16_000_000;

  public final Manifest manifest;
  /** SHA-256 of the manifest, which holds the hash of everything else. */
  public final String identity;
  private final BundleFiles files;

  private Bundle(Manifest manifest, String identity, BundleFiles files) {
    this.manifest = manifest;
    this.identity = identity;
    this.files = files;
  }

  /** Opens a bundle without asking who made it. */
  public static Bundle open(BundleFiles files) {
    return open(files, Collections.<String>emptyList(), 0);
  }

  /**
   * Opens a bundle that one of the keys must have signed.
   *
   * @param trustedKeys public keys as OpenSSH writes them, {@code ssh-ed25519 AAAA...}; none: signatures are not looked at
   * @param leastCounter with keys: the counter of the newest bundle that was accepted before; an older one is refused
   * @throws BundleException when the manifest is damaged or not signed as demanded
   * @throws UnavailableException when keys are given and this device cannot check signatures
   */
  public static Bundle open(BundleFiles files, List<String> trustedKeys, double leastCounter) {
    byte[] bytes = read(files, "manifest.json");
    if (bytes.length > LARGEST_MANIFEST_BYTES) throw new BundleException("manifest.json is larger than 16 MB.");
    if (!trustedKeys.isEmpty()) Signatures.check(bytes, read(files, "manifest.json.sig"), trustedKeys);
    Manifest manifest;
    try {
      String text = StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes)).toString();
      manifest = new Manifest(Json.parse(text));
    } catch (CharacterCodingException | IllegalArgumentException error) {
      throw new BundleException("manifest.json is no JSON (" + error.getMessage() + ").", error);
    }
    if (!trustedKeys.isEmpty() && (manifest.counter == null || manifest.counter < leastCounter)) {
      throw new BundleException("The bundle has no counter, or a lower one than was accepted before (" + leastCounter
          + "), so it could be an old one. Sign a new release with elsa-edge build --sign KEY.");
    }
    return new Bundle(manifest, hex(sha256(bytes)), files);
  }

  /**
   * Reads a file and compares it with the manifest.
   *
   * @throws BundleException when it is not listed, missing, or another one
   */
  public byte[] file(String path) {
    Manifest.Entry entry = entry(path);
    byte[] bytes = read(files, path);
    check(path, entry, bytes.length, sha256(bytes));
    return bytes;
  }

  /**
   * The same in a direct buffer, mapped where that is possible.
   *
   * @throws BundleException when it is not listed, missing, or another one
   */
  public ByteBuffer mapped(String path) {
    Manifest.Entry entry = entry(path);
    ByteBuffer bytes;
    try {
      bytes = files.map(path);
    } catch (IOException error) {
      throw unreadable(path, error);
    }
    MessageDigest digest = digest();
    digest.update(bytes.duplicate());
    check(path, entry, bytes.remaining(), digest.digest());
    return bytes;
  }

  private Manifest.Entry entry(String path) {
    Manifest.Entry entry = manifest.files.get(path);
    if (entry == null) throw new BundleException(path + " is not in the manifest's list of files.");
    return entry;
  }

  private static void check(String path, Manifest.Entry entry, long sizeBytes, byte[] hash) {
    if (sizeBytes != entry.sizeBytes) {
      throw new BundleException(path + " has " + sizeBytes + " bytes; the manifest says " + entry.sizeBytes
          + ". Copy the bundle again.");
    }
    if (!hex(hash).equals(entry.sha256)) {
      throw new BundleException(path + " is not the file that was built: its SHA-256 differs. Copy the bundle again.");
    }
  }

  /** Where the files lie as files; null where they do not. */
  java.io.File folder() {
    return files.folder();
  }

  private static byte[] read(BundleFiles files, String path) {
    try {
      return files.read(path);
    } catch (IOException error) {
      throw unreadable(path, error);
    }
  }

  private static BundleException unreadable(String path, IOException error) {
    return new BundleException(path + " cannot be read from the bundle (" + error.getMessage()
        + "). Copy the bundle again, whole.", error);
  }

  private static MessageDigest digest() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException error) {
      // Every Java has it.
      throw new AssertionError(error);
    }
  }

  private static byte[] sha256(byte[] bytes) {
    return digest().digest(bytes);
  }

  static String hex(byte[] bytes) {
    StringBuilder text = new StringBuilder();
    for (byte b : bytes) text.append(Character.forDigit(b >> 4 & 15, 16)).append(Character.forDigit(b & 15, 16));
    return text.toString();
  }
}
