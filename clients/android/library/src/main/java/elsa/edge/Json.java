package elsa.edge;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Strict JSON of at most 64 levels: Map, List, String, Double, Boolean or null. A key twice is refused.
 *
 * <p>Own code, because Android's org.json takes much that is no JSON, and because profiles need the same grammar with
 * plain words. Errors are IllegalArgumentException; who reads a file turns them into a sentence about it.
 */
final class Json {
  private static final int DEEPEST = 64;
  private static final String SPACE = " \t\r\n";

  private final String text;
  /** Whether words and keys may stand without quotes, as in YAML. */
  private final boolean plain;
  private int at = 0;

  private Json(String text, boolean plain) {
    this.text = text;
    this.plain = plain;
  }

  static Object parse(String text) {
    return new Json(text, false).whole();
  }

  /** A value on one line of YAML: as JSON has it, or a plain word. */
  static Object parsePlain(String text) {
    return new Json(text, true).whole();
  }

  private static IllegalArgumentException refuse(String why) {
    return new IllegalArgumentException(why);
  }

  private Object whole() {
    Object value = any(0);
    if (next() != 0) throw refuse("something follows the end");
    return value;
  }

  private char peek() {
    return at < text.length() ? text.charAt(at) : 0;
  }

  private char next() {
    while (at < text.length() && SPACE.indexOf(text.charAt(at)) >= 0) at++;
    return peek();
  }

  private void expect(char c) {
    if (next() != c) throw refuse("expected " + c + " at character " + at);
    at++;
  }

  private Object any(int depth) {
    if (depth > DEEPEST) throw refuse("deeper than " + DEEPEST + " levels");
    switch (next()) {
      case '{':
        return object(depth);
      case '[':
        return list(depth);
      case '"':
        return quoted();
      default:
        return scalar(word());
    }
  }

  private Map<String, Object> object(int depth) {
    Map<String, Object> object = new LinkedHashMap<>();
    at++;
    if (next() == '}') {
      at++;
      return object;
    }
    while (true) {
      if (next() != '"' && !plain) throw refuse("a key must be quoted");
      String key = peek() == '"' ? quoted() : word();
      expect(':');
      if (object.containsKey(key)) throw refuse("the key " + key + " is there twice");
      object.put(key, any(depth + 1));
      if (next() == '}') break;
      expect(',');
    }
    at++;
    return object;
  }

  private List<Object> list(int depth) {
    List<Object> list = new ArrayList<>();
    at++;
    if (next() == ']') {
      at++;
      return list;
    }
    while (true) {
      list.add(any(depth + 1));
      if (next() == ']') break;
      expect(',');
    }
    at++;
    return list;
  }

  private String word() {
    String ends = plain ? ",:{}[]\"\n" : ",:{}[]\" \t\r\n";
    int begin = at;
    while (at < text.length() && ends.indexOf(text.charAt(at)) < 0) at++;
    return text.substring(begin, at).trim();
  }

  private Object scalar(String word) {
    if (word.equals("null")) return null;
    if (word.equals("true") || word.equals("false")) return word.equals("true");
    // Java's own parser takes more: 0x1p3, 1f, NaN.
    if (word.matches("-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?")) return Double.valueOf(word);
    boolean isText = plain && !word.isEmpty() && "&*!|>%@`'#?-~.".indexOf(word.charAt(0)) < 0 && !word.contains(" #");
    if (isText) return word;
    throw refuse("unexpected \"" + word.substring(0, Math.min(40, word.length())) + "\" at character " + at);
  }

  private String quoted() {
    StringBuilder out = new StringBuilder();
    for (at++; peek() != '"'; ) {
      char c = peek();
      if (c < 0x20) throw refuse("a text has no end");
      at++;
      out.append(c == '\\' ? escaped() : c);
    }
    at++;
    return out.toString();
  }

  private char escaped() {
    char c = peek();
    at++;
    int simple = "\"\\/bfnrt".indexOf(c);
    if (c == 'u') return (char) hex(4);
    if (c == 'x' && plain) return (char) hex(2);
    if (c == 0 || simple < 0) throw refuse("an unknown escape in a text");
    return "\"\\/\b\f\n\r\t".charAt(simple);
  }

  private int hex(int digits) {
    int end = Math.min(text.length(), at + digits);
    String part = text.substring(Math.min(at, end), end);
    if (!part.matches("[0-9a-fA-F]{" + digits + "}")) throw refuse("an escape needs hexadecimal digits");
    at += digits;
    return Integer.parseInt(part, 16);
  }
}
