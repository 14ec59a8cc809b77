package elsa.edge;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The part of YAML in which elsa-edge writes profiles: block mappings and lists of one-line values, comments, JSON.
 *
 * <p>No anchors, tags or multi-line texts. A YAML library would be larger than all the rest of this one.
 */
final class Yaml {
  private static final int DEEPEST = 64;

  private static final class Line {
    final int indent;
    final String text;

    Line(int indent, String text) {
      this.indent = indent;
      this.text = text;
    }
  }

  private final List<Line> lines = new ArrayList<>();
  private int at = 0;

  private Yaml(String text) {
    for (String raw : text.split("\n")) {
      String line = raw.replaceAll("[ \r]+$", "");
      int indent = 0;
      while (indent < line.length() && line.charAt(indent) == ' ') indent++;
      if (indent < line.length() && line.charAt(indent) != '#') lines.add(new Line(indent, line.substring(indent)));
    }
  }

  /**
   * Reads a profile, in YAML or JSON.
   *
   * @throws IllegalArgumentException with what is wrong
   */
  static Object parse(String text) {
    Yaml yaml = new Yaml(text);
    if (yaml.lines.isEmpty()) throw new IllegalArgumentException("it is empty");
    if (yaml.lines.get(0).text.startsWith("{")) return Json.parse(text);
    Object value = yaml.block(0);
    if (yaml.at < yaml.lines.size()) throw wrong("a line is indented too little", yaml.lines.get(yaml.at).text);
    return value;
  }

  private static IllegalArgumentException wrong(String what, String line) {
    return new IllegalArgumentException(what + ": " + line.substring(0, Math.min(40, line.length())));
  }

  private Object block(int depth) {
    if (depth > DEEPEST) throw new IllegalArgumentException("deeper than " + DEEPEST + " levels");
    int indent = lines.get(at).indent;
    boolean isList = lines.get(at).text.startsWith("- ");
    List<Object> list = new ArrayList<>();
    Map<String, Object> object = new LinkedHashMap<>();
    while (at < lines.size() && lines.get(at).indent == indent) {
      String line = lines.get(at++).text;
      if (!isList) {
        entry(line, indent, depth, object);
      } else if (line.startsWith("- ")) {
        list.add(Json.parsePlain(line.substring(2)));
      } else {
        throw wrong("a list has another line in it", line);
      }
    }
    if (at < lines.size() && lines.get(at).indent > indent) {
      throw wrong("a line is indented too far", lines.get(at).text);
    }
    return isList ? list : object;
  }

  private void entry(String line, int indent, int depth, Map<String, Object> object) {
    boolean quoted = line.startsWith("\"");
    int colon = quoted ? line.indexOf("\":") + 1 : line.indexOf(':');
    if (colon <= 0) throw wrong("no key in the line", line);
    String key = quoted ? (String) Json.parse(line.substring(0, colon)) : line.substring(0, colon);
    String rest = line.substring(colon + 1);
    Object value = null;
    if (!rest.isEmpty()) value = Json.parsePlain(rest);
    else if (at < lines.size() && lines.get(at).indent > indent) value = block(depth + 1);
    if (object.containsKey(key)) throw wrong("the key is there twice", key);
    object.put(key, value);
  }
}
