// Ask a uad server about one image. Java 17 or later, no libraries.
//
// Build:  apt-get install default-jdk
//         javac Client.java
// Run:    java Client IMAGE OUTPUT.jpg [URL]
//         java Client --feedback LOG_ID good|defective [NOTE [URL]]
//
// If the server wants an API key, set it in the environment variable UAD_API_KEY.

import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

public final class Client {
    private static final String DEFAULT_URL = "http://localhost:8080/image-anomaly-detection";
    private static final String FEEDBACK_URL = "http://localhost:8080/feedback";
    private static final Duration TIMEOUT = Duration.ofSeconds(60);

    /** Send the bytes of an image file; return the answer with its `result`. */
    static Map<?, ?> ask(String url, byte[] image) throws IOException, InterruptedException {
        return post(url, "{\"image\": " + quoted(Base64.getEncoder().encodeToString(image)) + "}");
    }

    /** Say that a judged image is `good` or `defective`; return the answer with its `result`. */
    static Map<?, ?> say(String url, String logId, String verdict, String note)
            throws IOException, InterruptedException {
        return post(url, "{\"logId\": " + quoted(logId) + ", \"verdict\": " + quoted(verdict)
                + ", \"note\": " + quoted(note) + "}");
    }

    /** A text as JSON. */
    private static String quoted(String text) {
        StringBuilder quoted = new StringBuilder("\"");
        for (char letter : text.toCharArray()) {
            if (letter < ' ') {
                quoted.append(String.format("\\u%04x", (int) letter));
            } else {
                quoted.append(letter == '"' || letter == '\\' ? "\\" : "").append(letter);
            }
        }
        return quoted.append('"').toString();
    }

    private static Map<?, ?> post(String url, String body) throws IOException, InterruptedException {
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(url))
                .timeout(TIMEOUT)
                .header("Content-Type", "application/json")
                .POST(HttpRequest.BodyPublishers.ofString(body));
        String key = System.getenv("UAD_API_KEY");
        if (key != null && !key.isEmpty()) {
            request.header("Authorization", "Bearer " + key);
        }
        // HTTP/1.1: Java would otherwise ask for an upgrade to HTTP/2 on every plain connection.
        HttpClient client = HttpClient.newBuilder()
                .version(HttpClient.Version.HTTP_1_1)
                .connectTimeout(TIMEOUT)
                .build();
        HttpResponse<String> response = client.send(request.build(), HttpResponse.BodyHandlers.ofString());
        Map<?, ?> answer = (Map<?, ?>) new Json(response.body()).read();
        int code = ((Number) answer.get("errorCode")).intValue();
        if (code != 0) {
            throw new IOException(code + ": " + answer.get("errorMsg"));
        }
        return answer;
    }

    static void feedback(String logId, String verdict, String note, String url)
            throws IOException, InterruptedException {
        Map<?, ?> said = (Map<?, ?>) say(url, logId, verdict, note).get("result");
        System.out.println("recorded: judged " + said.get("judged") + ", said " + said.get("said"));
    }

    static void analyse(Path image, Path output, String url) throws IOException, InterruptedException {
        if (!Files.isReadable(image)) {
            throw new IOException("cannot read " + image);
        }
        Map<?, ?> answer = ask(url, Files.readAllBytes(image));
        Map<?, ?> result = (Map<?, ?>) answer.get("result");
        Files.write(output, Base64.getDecoder().decode((String) result.get("image")));
        List<?> size = (List<?>) result.get("size");
        int height = ((Number) size.get(0)).intValue();
        int width = ((Number) size.get(1)).intValue();
        // labelMap is row by row: the pixel in row y and column x is element y * width + x.
        long anomalous = ((List<?>) result.get("labelMap")).stream()
                .filter(label -> ((Number) label).intValue() != 0)
                .count();
        System.out.println("score: " + result.get("score"));
        System.out.println("verdict: " + ((Boolean) result.get("isAnomalous") ? "anomalous" : "normal"));
        System.out.println("size: " + height + " x " + width);
        System.out.println("anomalous pixels: " + anomalous);
        List<?> regions = (List<?>) result.get("regions");
        int omitted = ((Number) result.get("regionsOmitted")).intValue();
        System.out.println("regions: " + (regions.size() + omitted));
        for (int index = 0; index < regions.size(); index++) { // largest score first
            List<?> box = (List<?>) ((Map<?, ?>) regions.get(index)).get("box");
            int[] at = box.stream().mapToInt(value -> ((Number) value).intValue()).toArray();
            System.out.printf("region %d: x %d, y %d, width %d, height %d%n", index + 1, at[0], at[1], at[2], at[3]);
        }
        System.out.println("log id: " + answer.get("logId"));
        System.out.println("picture: " + output);
    }

    public static void main(String[] args) {
        boolean isFeedback = args.length > 0 && args[0].equals("--feedback");
        if (isFeedback ? args.length < 3 || args.length > 5 : args.length < 2 || args.length > 3) {
            System.err.println("usage: java Client IMAGE OUTPUT.jpg [URL]");
            System.err.println("       java Client --feedback LOG_ID good|defective [NOTE [URL]]");
            System.exit(2);
        }
        try {
            if (isFeedback) {
                feedback(args[1], args[2], args.length > 3 ? args[3] : "", args.length > 4 ? args[4] : FEEDBACK_URL);
            } else {
                analyse(Path.of(args[0]), Path.of(args[1]), args.length > 2 ? args[2] : DEFAULT_URL);
            }
        } catch (IOException | IllegalArgumentException | InterruptedException error) {
            String message = error.getMessage();
            System.err.println("error: " + (message == null ? "no answer from the server (" + error + ")" : message));
            System.exit(1);
        }
    }

    /** Reads JSON into Map, List, String, Double, Boolean and null; use your own library if you have one. */
    static final class Json {
        private final String text;
        private int at;

        Json(String text) {
            this.text = text;
        }

        Object read() {
            switch (peek()) {
                case '{':
                    return object();
                case '[':
                    return array();
                case '"':
                    return string();
                default:
                    return scalar();
            }
        }

        private Map<String, Object> object() {
            Map<String, Object> fields = new LinkedHashMap<>();
            take('{');
            while (peek() != '}') {
                String name = string();
                take(':');
                fields.put(name, read());
                if (peek() != '}') {
                    take(',');
                }
            }
            take('}');
            return fields;
        }

        private List<Object> array() {
            List<Object> elements = new ArrayList<>();
            take('[');
            while (peek() != ']') {
                elements.add(read());
                if (peek() != ']') {
                    take(',');
                }
            }
            take(']');
            return elements;
        }

        private String string() {
            take('"');
            StringBuilder value = new StringBuilder();
            while (true) {
                char letter = next();
                if (letter == '"') {
                    return value.toString();
                }
                value.append(letter == '\\' ? escaped() : letter);
            }
        }

        private char escaped() {
            char letter = next();
            switch (letter) {
                case 'n':
                    return '\n';
                case 't':
                    return '\t';
                case 'r':
                    return '\r';
                case 'b':
                    return '\b';
                case 'f':
                    return '\f';
                case 'u':
                    at += 4;
                    return (char) Integer.parseInt(text, at - 4, at, 16);
                default:
                    return letter;
            }
        }

        private Object scalar() {
            int start = at;
            while (at < text.length() && ",]} \n\r\t".indexOf(text.charAt(at)) < 0) {
                at++;
            }
            String word = text.substring(start, at);
            switch (word) {
                case "true":
                    return true;
                case "false":
                    return false;
                case "null":
                    return null;
                default:
                    return Double.valueOf(word);
            }
        }

        private char peek() {
            while (at < text.length() && Character.isWhitespace(text.charAt(at))) {
                at++;
            }
            if (at >= text.length()) {
                throw new IllegalArgumentException("the answer is no complete JSON");
            }
            return text.charAt(at);
        }

        private char next() {
            if (at >= text.length()) {
                throw new IllegalArgumentException("the answer is no complete JSON");
            }
            return text.charAt(at++);
        }

        private void take(char expected) {
            if (peek() != expected) {
                throw new IllegalArgumentException("the answer is no JSON: " + expected + " missing at " + at);
            }
            at++;
        }
    }
}
