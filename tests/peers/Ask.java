import com.fasterxml.jackson.databind.*;
import com.fasterxml.jackson.databind.node.*;
import java.io.*;
import java.net.*;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.regex.*;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.message.*;
import org.apache.kafka.common.protocol.*;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.*;
import org.apache.kafka.common.record.internal.Record;
import org.apache.kafka.common.utils.Crc32C;

/** Asks a Kafka broker any request at any version and prints the decoded answer, or asks two brokers and prints where they differ. README.md has the case format. */
public final class Ask {
    static final ObjectMapper JSON = new ObjectMapper().enable(com.fasterxml.jackson.core.JsonParser.Feature.ALLOW_COMMENTS);
    static final String USAGE = """
        ask HOST:PORT API VERSION 'JSON'                    one request, the answer as JSON
        ask HOST:PORT -                                     one case a line from stdin, one answer a line
        ask --diff HOST1:PORT HOST2:PORT CASES.jsonl...     every field that differs; exit 0 only when none does
        ask --keep FILE HOST:PORT CASES.jsonl...            keeps a broker's answers; `--diff @FILE HOST:PORT CASES.jsonl...` compares with them
        options: --run ID (the value of ${run}), --timeout MS (of every read, 10000), --texts (compare error messages too),
                 --json (of the diff: a line for every case that differs, all its paths)""";
    static long now = System.currentTimeMillis();
    static String run = Long.toString(now / 10, 36);
    static int timeout = 10_000;
    static boolean texts, json;

    public static void main(String[] args) throws Exception {
        Deque<String> words = new ArrayDeque<>();
        boolean diff = false;
        String keep = null;
        for (int i = 0; i < args.length; i++) switch (args[i]) {
            case "--diff" -> diff = true;
            case "--texts" -> texts = true;
            case "--json" -> json = true;
            case "--keep" -> keep = args[++i];
            case "--run" -> run = args[++i];
            case "--timeout" -> timeout = Integer.parseInt(args[++i]);
            default -> words.add(args[i]);
        }
        if (keep != null && words.size() > 1) { Diff.keep(keep, words.poll(), words); System.exit(0); }
        if (diff && words.size() > 2) System.exit(Diff.all(words.poll(), words.poll(), words) ? 0 : 1);
        if (diff || words.size() != 2 && words.size() != 4) { System.err.println(USAGE); System.exit(2); }
        Session session = new Session(words.poll());
        if (words.size() == 3) {
            ObjectNode json = JSON.createObjectNode().put("api", words.poll()).put("version", Integer.parseInt(words.poll())).set("body", JSON.readTree(words.poll()));
            ObjectNode answer = session.run(new Case("", "", json, Map.of()));
            System.out.println(answer.toPrettyString());
            System.err.println(answer.path("leftover").asInt() + " bytes left over");
            System.exit(answer.has("error") ? 1 : 0);
        }
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = in.readLine()) != null; )
            for (Case c : Case.parse(line, "")) System.out.println(JSON.createObjectNode().put("name", c.name).<ObjectNode>set("answer", session.run(c)));
        System.exit(0);
    }

    /** One request of a case file; a line with `versions` or `each` stands for several. */
    record Case(String name, String where, ObjectNode json, Map<String, JsonNode> vars) {
        static List<Case> parse(String line, String where) throws IOException {
            if (line.isBlank() || line.startsWith("#") || JSON.readTree(line).has("rules")) return List.of();
            ObjectNode json = (ObjectNode) JSON.readTree(line);
            List<Case> cases = List.of(new Case(json.path("name").asText(json.path("api").asText()), where, json, Map.of()));
            for (var each : json.path("each").properties()) cases = times(cases, each.getKey(), each.getValue());
            if (!json.has("versions")) return cases;
            String[] range = json.get("versions").asText().split("-");
            ArrayNode versions = JSON.createArrayNode();
            for (int v = Integer.parseInt(range[0]); v <= Integer.parseInt(range[1]); v++) versions.add(v);
            return times(cases, "version", versions);
        }

        static List<Case> times(List<Case> cases, String var, JsonNode values) {
            List<Case> out = new ArrayList<>();
            for (Case c : cases) for (JsonNode value : values) {
                Map<String, JsonNode> vars = new HashMap<>(c.vars);
                vars.put(var, value);
                out.add(new Case(c.name + " " + var + "=" + (value.isValueNode() ? value.asText() : value), c.where, c.json, vars));
            }
            return out;
        }
    }

    /** One broker's run: its connections and saved variables. */
    static final class Session {
        static final Pattern VAR = Pattern.compile("\\$\\{(?:(.+?)\\*(\\d+)|(\\w+)(?:\\.(\\w+))?([+-]\\d+)?)}");
        final Map<String, JsonNode> vars = new HashMap<>(Map.of("run", TextNode.valueOf(run), "now", LongNode.valueOf(now)));
        final Map<String, Conn> conns = new HashMap<>();
        final String host;
        int silent;

        Session(String host) { this.host = host; }

        ObjectNode run(Case c) {
            if (silent > 4) return JSON.createObjectNode().put("error", host + " does not answer any more");
            try {
                vars.putAll(c.vars);
                ObjectNode json = (ObjectNode) fillIn(c.json);
                if (c.vars.containsKey("version")) json.set("version", c.vars.get("version"));
                Thread.sleep(json.path("sleep").asLong());
                String until = json.path("until").asText("");
                long deadline = System.currentTimeMillis() + timeout;
                ObjectNode answer = ask(c.name, json);
                for (; !holds(answer, until) && System.currentTimeMillis() < deadline; answer = ask(c.name, json)) Thread.sleep(50);
                silent = answer.has("timeout") ? silent + 1 : 0;
                if (!holds(answer, until)) answer.put("error", "never " + until);
                for (var save : json.path("save").properties()) {
                    List<JsonNode> found = find(answer, save.getValue().asText());
                    if (found.isEmpty()) answer.put("error", "nothing to save at " + save.getValue().asText());
                    else vars.put(save.getKey(), found.get(0));
                }
                return answer;
            } catch (Exception e) {
                return JSON.createObjectNode().put("error", (e instanceof ReflectiveOperationException && e.getCause() != null ? e.getCause() : e).toString());
            }
        }

        ObjectNode ask(String name, ObjectNode json) throws Exception {
            long start = System.nanoTime();
            Conn conn = conns.get(json.path("conn").asText());
            if (conn == null || conn.socket.isClosed()) conns.put(json.path("conn").asText(), conn = new Conn(host));
            if (!json.has("await")) conn.send(name, json);
            if (json.has("async") || json.has("noreply")) return JSON.createObjectNode().put("sent", true);
            ObjectNode answer = conn.receive(json.path("await").asText(name), json.path("timeout").asInt(timeout));
            if (!json.has("took")) return answer;
            String[] range = json.get("took").asText().split("-");
            long ms = (System.nanoTime() - start) / 1_000_000;
            boolean within = ms >= Long.parseLong(range[0]) && ms <= Long.parseLong(range[1]);
            return answer.put("took", (within ? "within " : ms + " ms, not within ") + json.get("took").asText());
        }

        static boolean holds(JsonNode answer, String condition) {
            int at = condition.lastIndexOf('=');
            List<JsonNode> found = at < 0 ? List.of() : find(answer, condition.substring(0, at));
            return at < 0 || !found.isEmpty() && found.stream().allMatch(n -> n.asText().equals(condition.substring(at + 1)));
        }

        /** Replaces ${run}, ${now-1000}, ${saved+1}, ${list.0} and ${x*5000} (x, 5000 times) in every text. */
        JsonNode fillIn(JsonNode n) {
            if (n.isObject()) {
                ObjectNode out = JSON.createObjectNode();
                n.properties().forEach(f -> out.set(fillIn(TextNode.valueOf(f.getKey())).asText(), fillIn(f.getValue())));
                return out;
            }
            if (n.isArray()) {
                ArrayNode out = JSON.createArrayNode();
                n.forEach(e -> out.add(fillIn(e)));
                return out;
            }
            Matcher m = VAR.matcher(n.asText());
            if (!n.isTextual() || !m.find()) return n;
            return m.matches() ? value(m) : TextNode.valueOf(m.replaceAll(r -> Matcher.quoteReplacement(value(r).asText())));
        }

        JsonNode value(MatchResult m) {
            if (m.group(1) != null) return TextNode.valueOf(m.group(1).repeat(Integer.parseInt(m.group(2))));
            JsonNode v = vars.get(m.group(3));
            if (v != null && m.group(4) != null) v = v.isArray() ? v.get(Integer.parseInt(m.group(4))) : v.get(m.group(4));
            if (v == null) throw new IllegalArgumentException("no value for " + m.group());
            return m.group(5) == null ? fillIn(v) : LongNode.valueOf(v.asLong() + Long.parseLong(m.group(5)));
        }
    }

    /** The nodes at a path such as topics[0].partitions[*].errorCode or topics[name=a].topicId. */
    static List<JsonNode> find(JsonNode root, String path) {
        List<JsonNode> at = List.of(root);
        for (Matcher m = Pattern.compile("([^.\\[\\]]+)|\\[([^]]*)]").matcher(path); m.find(); ) {
            List<JsonNode> next = new ArrayList<>();
            String index = m.group(2);
            for (JsonNode n : at)
                if (index == null) next.add(n.path(m.group(1)));
                else if (index.equals("*")) n.forEach(next::add);
                else if (!index.contains("=")) next.add(n.path(Integer.parseInt(index)));
                else for (JsonNode e : n) if (e.path(index.split("=", 2)[0]).asText().equals(index.split("=", 2)[1])) next.add(e);
            next.removeIf(JsonNode::isMissingNode);
            at = next;
        }
        return at;
    }

    /** One socket. Answers come in the order of the requests, so each frame belongs to the oldest request still waiting. */
    static final class Conn {
        record Sent(String name, ApiKeys api, short version, Integer correlation) {}
        static final ScheduledExecutorService watchdog = Executors.newSingleThreadScheduledExecutor();
        final Socket socket = new Socket();
        final Deque<Sent> waiting = new ArrayDeque<>();
        final Map<String, ObjectNode> early = new HashMap<>();
        int correlation;

        Conn(String host) throws IOException {
            int colon = host.lastIndexOf(':');
            socket.connect(new InetSocketAddress(host.substring(0, colon), Integer.parseInt(host.substring(colon + 1))), timeout);
            socket.setTcpNoDelay(true);
        }

        void send(String name, ObjectNode json) throws Exception {
            ApiKeys api = json.has("api") ? api(json.get("api").asText()) : null;
            short version = (short) json.path("version").asInt();
            String hex = json.path("raw").asText(json.path("frame").asText());
            byte[] frame = hex.isEmpty() ? Wire.request(api, version, ++correlation, json) : hex(hex);
            frame = Wire.join(Arrays.copyOf(frame, frame.length - json.path("cut").asInt()), hex(json.path("add").asText()));
            if (!json.has("raw")) frame = Wire.join(ByteBuffer.allocate(4).putInt(frame.length).array(), frame);
            Future<?> stuck = watchdog.schedule(() -> { socket.close(); return null; }, timeout, TimeUnit.MILLISECONDS);
            try { socket.getOutputStream().write(frame); } catch (IOException closed) { /* the answer will say so */ } finally { stuck.cancel(false); }
            if (!json.has("noreply")) waiting.add(new Sent(name, api, version, hex.isEmpty() ? correlation : null));
        }

        ObjectNode receive(String name, int timeout) throws Exception {
            for (long deadline = System.currentTimeMillis() + timeout; !early.containsKey(name); ) {
                Sent sent = waiting.poll();
                if (sent == null) return JSON.createObjectNode().put("error", "nothing was asked by the name " + name);
                try {
                    byte[] frame = read(ByteBuffer.wrap(read(4, deadline)).getInt(), deadline);
                    early.put(sent.name, sent.api == null ? JSON.createObjectNode().put("frame", HexFormat.of().formatHex(frame)) : Wire.answer(sent, ByteBuffer.wrap(frame)));
                } catch (IOException e) {
                    socket.close();
                    early.put(sent.name, JSON.createObjectNode().put(e instanceof SocketTimeoutException ? "timeout" : "closed", true));
                }
            }
            return early.remove(name);
        }

        byte[] read(int n, long deadline) throws IOException {
            byte[] out = new byte[n];
            for (int at = 0, got; at < n; at += got) {
                socket.setSoTimeout((int) Math.max(1, deadline - System.currentTimeMillis()));
                if ((got = socket.getInputStream().read(out, at, n - at)) < 0) throw new EOFException();
            }
            return out;
        }
    }

    static ApiKeys api(String name) {
        for (ApiKeys k : ApiKeys.values()) if (k.name.equalsIgnoreCase(name) || name.equals("" + k.id)) return k;
        throw new IllegalArgumentException("no API " + name);
    }

    static byte[] hex(String digits) { return HexFormat.of().parseHex(digits.replace(" ", "")); }

    /** JSON to bytes and back through the generated classes; absent fields get the schema's defaults, unknown ones are an error. */
    static final class Wire {
        static byte[] request(ApiKeys api, short version, int id, ObjectNode json) throws Exception {
            short as = (short) json.path("as").asInt(version);
            String client = json.has("client") ? json.get("client").textValue() : "ask";
            Message header = new RequestHeaderData().setRequestApiKey(api.id).setRequestApiVersion(version).setCorrelationId(id).setClientId(client);
            Message body = message(api.messageType.newRequest().getClass(), json.path("body"), as);
            return join(bytes(header, api.requestHeaderVersion(as)), bytes(body, as));
        }

        static byte[] bytes(Message m, short version) { return MessageUtil.byteBufferToArray(MessageUtil.toByteBufferAccessor(m, version).buffer()); }

        static byte[] join(byte[] a, byte[] b) { return ByteBuffer.allocate(a.length + b.length).put(a).put(b).array(); }

        static Message message(Class<?> data, JsonNode given, short version) throws Exception {
            JsonNode spec = JSON.readTree(Ask.class.getResourceAsStream("/common/message/" + data.getSimpleName().replaceFirst("Data$", "") + ".json"));
            JsonNode filled = fill(spec, spec.get("fields"), given, version);
            return (Message) Class.forName(data.getName() + "JsonConverter").getMethod("read", JsonNode.class, short.class).invoke(null, filled, version);
        }

        static boolean in(JsonNode range, int version) {
            String[] ends = range.asText("none").split("[-+]", -1);
            if (ends[0].equals("none") || version < Integer.parseInt(ends[0])) return false;
            return ends.length == 1 ? version == Integer.parseInt(ends[0]) : ends[1].isEmpty() || version <= Integer.parseInt(ends[1]);
        }

        static JsonNode fill(JsonNode spec, JsonNode fields, JsonNode given, short version) throws Exception {
            ObjectNode out = JSON.createObjectNode();
            Set<String> unknown = new TreeSet<>();
            given.fieldNames().forEachRemaining(unknown::add);
            for (JsonNode f : fields) {
                String name = Character.toLowerCase(f.get("name").asText().charAt(0)) + f.get("name").asText().substring(1);
                boolean tagged = in(f.path("taggedVersions"), version);
                unknown.remove(name);
                if (given.has(name) ? tagged || in(f.get("versions"), version) : !tagged && in(f.get("versions"), version)) out.set(name, fit(spec, f, given.get(name), version));
            }
            if (!unknown.isEmpty()) throw new IllegalArgumentException("no such field: " + unknown);
            return out;
        }

        /** One field's value: what the case gives, or else the schema's default. */
        static JsonNode fit(JsonNode spec, JsonNode field, JsonNode given, short version) throws Exception {
            String type = field.get("type").asText(), initial = field.path("default").asText("");
            JsonNode fields = field.get("fields");
            for (JsonNode s : spec.path("commonStructs")) if (type.endsWith(s.get("name").asText())) fields = s.get("fields");
            if (given == null && initial.equals("null") && in(field.path("nullableVersions"), version)) return NullNode.instance;
            JsonNode v = given != null ? given : type.startsWith("[]") ? JSON.createArrayNode() : fields != null ? JSON.createObjectNode() : switch (type) {
                case "bool" -> BooleanNode.valueOf(initial.equals("true"));
                case "uuid" -> TextNode.valueOf("AAAAAAAAAAAAAAAAAAAAAA");
                case "string", "bytes", "records" -> TextNode.valueOf(initial);
                case "float64" -> DoubleNode.valueOf(0);
                default -> JSON.readTree("" + (initial.isEmpty() ? 0 : Long.decode(initial)));
            };
            if (fields != null && v.isObject()) return fill(spec, fields, v, version);
            if (fields != null && v.isArray()) {
                ArrayNode out = JSON.createArrayNode();
                for (JsonNode e : v) out.add(fill(spec, fields, e, version));
                return out;
            }
            if (type.equals("records") && v.isArray()) return BinaryNode.valueOf(Batches.build(v));
            if (type.equals("bytes") && v.has("text")) return BinaryNode.valueOf(Batches.utf8(v.get("text")));
            if (type.equals("bytes") && v.has("message")) {
                short embedded = (short) v.path("version").asInt();
                return BinaryNode.valueOf(MessageUtil.toVersionPrefixedBytes(embedded,
                    message(Class.forName("org.apache.kafka.common.message." + v.get("message").asText()), v.path("body"), embedded)));
            }
            return type.equals("string") && v.isNumber() ? TextNode.valueOf(v.asText()) : v;
        }

        static ObjectNode answer(Conn.Sent sent, ByteBuffer frame) throws Exception {
            if (sent.api != ApiKeys.API_VERSIONS) return decode(sent, frame, sent.version);
            try { // an unsupported ApiVersions version is answered in version 0
                ObjectNode out = decode(sent, frame.duplicate(), sent.version);
                if (!out.has("leftover")) return out;
            } catch (RuntimeException notThisVersion) { /* version 0 then */ }
            return decode(sent, frame, (short) 0);
        }

        static ObjectNode decode(Conn.Sent sent, ByteBuffer frame, short version) throws Exception {
            ByteBufferAccessor in = new ByteBufferAccessor(frame);
            ResponseHeaderData header = new ResponseHeaderData(in, sent.api.responseHeaderVersion(version));
            ApiMessage body = sent.api.messageType.newResponse();
            body.read(in, version);
            Class<?> converter = Class.forName(body.getClass().getName() + "JsonConverter");
            ObjectNode out = (ObjectNode) converter.getMethod("write", body.getClass(), short.class, boolean.class).invoke(null, body, version, false);
            if (body instanceof FetchResponseData fetch) Batches.print(fetch, out);
            if (sent.correlation != null && header.correlationId() != sent.correlation) out.put("error", "correlation id " + header.correlationId() + ", not " + sent.correlation);
            return frame.hasRemaining() ? out.put("leftover", frame.remaining()) : out;
        }
    }

    /** Record batches from JSON, and to JSON. */
    static final class Batches {
        static byte[] build(JsonNode batches) throws Exception {
            byte[] out = {};
            for (JsonNode b : batches) out = Wire.join(out, b.has("hex") ? hex(b.get("hex").asText()) : one(b));
            return out;
        }

        static byte[] one(JsonNode b) {
            Compression codec = Compression.of(CompressionType.forName(b.path("compression").asText("none"))).build();
            TimestampType time = b.path("appendTime").asBoolean() ? TimestampType.LOG_APPEND_TIME : TimestampType.CREATE_TIME;
            long offset = b.path("baseOffset").asLong(), timestamp = b.path("timestamp").asLong(now);
            MemoryRecordsBuilder to = MemoryRecords.builder(ByteBuffer.allocate(1024), (byte) b.path("magic").asInt(2), codec, time, offset, now, b.path("producerId").asLong(-1),
                (short) b.path("epoch").asInt(-1), b.path("baseSequence").asInt(-1), b.path("transactional").asBoolean(), b.has("control"), b.path("leaderEpoch").asInt(-1));
            if (b.has("control")) to.appendEndTxnMarker(now, new EndTransactionMarker(ControlRecordType.valueOf(b.get("control").asText().toUpperCase()), 0));
            for (JsonNode v : b.path("values")) to.appendWithOffset(offset++, timestamp, null, utf8(v));
            for (JsonNode r : b.path("records")) {
                List<RecordHeader> headers = new ArrayList<>();
                for (JsonNode h : r.path("headers")) headers.add(new RecordHeader(h.get(0).asText(), utf8(h.path(1))));
                offset = r.path("offset").asLong(offset);
                to.appendWithOffset(offset++, r.path("timestamp").asLong(timestamp), utf8(r.path("key")), utf8(r.path("value")), headers.toArray(RecordHeader[]::new));
            }
            byte[] bytes = MessageUtil.byteBufferToArray(to.build().buffer());
            for (var p : b.path("patch").properties()) // "17": "00000000" overwrites the CRC, a last "crc": true makes it right again
                if (p.getKey().equals("crc")) ByteBuffer.wrap(bytes).putInt(17, (int) Crc32C.compute(bytes, 21, bytes.length - 21));
                else ByteBuffer.wrap(bytes).put(Integer.parseInt(p.getKey()), hex(p.getValue().asText()));
            return bytes;
        }

        static byte[] utf8(JsonNode text) { return text.isTextual() ? text.asText().getBytes(StandardCharsets.UTF_8) : null; }

        static void print(FetchResponseData fetch, ObjectNode out) {
            for (int t = 0; t < fetch.responses().size(); t++) for (int p = 0; p < fetch.responses().get(t).partitions().size(); p++) {
                ObjectNode partition = (ObjectNode) out.get("responses").get(t).get("partitions").get(p);
                partition.remove("recordsSizeInBytes");
                if (!(fetch.responses().get(t).partitions().get(p).records() instanceof MemoryRecords records)) { partition.putNull("records"); continue; }
                ArrayNode batches = partition.putArray("records");
                for (MutableRecordBatch b : records.batches()) batches.add(print(b));
            }
        }

        static ObjectNode print(MutableRecordBatch b) {
            ObjectNode out = JSON.createObjectNode().put("baseOffset", b.baseOffset()).put("lastOffset", b.lastOffset()).put("magic", b.magic()).put("size", b.sizeInBytes())
                .put("compression", b.compressionType().name).put("time", b.timestampType().name).put("maxTimestamp", b.maxTimestamp()).put("leaderEpoch", b.partitionLeaderEpoch())
                .put("producerId", b.producerId()).put("epoch", b.producerEpoch()).put("baseSequence", b.baseSequence()).put("transactional", b.isTransactional());
            if (!b.isValid()) return out.put("crc", "wrong");
            ArrayNode records = out.putArray("records");
            for (Record r : b) {
                ObjectNode one = records.addObject().put("offset", r.offset()).put("timestamp", r.timestamp());
                if (b.isControlBatch()) { one.put("control", ControlRecordType.parse(r.key()).name()); continue; }
                one.put("key", text(r.key())).put("value", text(r.value()));
                for (var h : r.headers()) one.withArray("headers").addArray().add(h.key()).add(h.value() == null ? null : text(ByteBuffer.wrap(h.value())));
            }
            return out;
        }

        static String text(ByteBuffer b) {
            if (b == null || b.remaining() < 200) return b == null ? null : StandardCharsets.UTF_8.decode(b).toString();
            return b.remaining() + " bytes, crc32c " + Long.toHexString(Crc32C.compute(b, 0, b.remaining()));
        }
    }

    /** One broker's answers made comparable by the rules of the case files. */
    static final class Normal {
        static final Map<String, Pattern> patterns = new ConcurrentHashMap<>();
        final Map<String, Map<String, String>> aliases = new HashMap<>();
        final Set<String> optional = new HashSet<>();
        final Map<String, Integer> fresh = new HashMap<>();
        List<JsonNode> rules;
        int number;

        /** Leaf path to value. Array elements are named by their key where a `sets` rule gives one, else by their index. */
        SortedMap<String, String> flat(JsonNode answer, List<JsonNode> rules, int number) {
            this.rules = rules;
            this.number = number;
            optional.clear();
            fresh.clear();
            SortedMap<String, String> out = new TreeMap<>();
            walk(answer, "", out);
            return out;
        }

        void walk(JsonNode n, String path, SortedMap<String, String> out) {
            if (listed("ignore", path)) return;
            if (n.isEmpty()) out.put(path, !n.isValueNode() ? n.toString() : listed("shape", path) && !texts ? shape(n) : alias(n, path, true));
            n.properties().forEach(f -> walk(f.getValue(), path.isEmpty() ? f.getKey() : path + "." + f.getKey(), out));
            if (!n.isArray()) return;
            String key = rule("sets", path), keep = rule("only", path);
            List<JsonNode> elements = new ArrayList<>();
            n.forEach(e -> { if (keep == null || id(e, key, path).contains(keep)) elements.add(e); });
            if (key != null) elements.sort(Comparator.comparing(e -> id(e, key, path)));
            for (int i = 0; i < elements.size(); i++) {
                String name = path + "[" + (key == null ? i : id(elements.get(i), key, path)) + "]";
                while (out.containsKey(name) || !out.subMap(name + ".", name + "/").isEmpty()) name += "'";
                if (key != null && key.endsWith("?")) optional.add(name);
                walk(elements.get(i), name, out);
            }
        }

        /** What names an array element: the first of its key fields that is there and not an id seen for the first time. */
        String id(JsonNode element, String key, String path) {
            if (key == null || element.isValueNode()) return alias(element, path, true).replace("\"", "");
            for (String field : key.replace("?", "").split("\\|")) {
                String name = element.path(field).asText("").isEmpty() ? "" : alias(element.get(field), path + "[]." + field, false).replace("\"", "");
                if (!name.isEmpty()) return name;
            }
            return "";
        }

        boolean listed(String kind, String path) {
            for (JsonNode r : rules) for (JsonNode p : r.path(kind)) if (matches(p.asText(), path)) return true;
            return false;
        }

        String rule(String kind, String path) {
            String found = null;
            for (JsonNode r : rules) for (var e : r.path(kind).properties()) if (matches(e.getKey(), path)) found = e.getValue().asText();
            return found;
        }

        /** Whether the path ends in the pattern; a pattern's step without [key] matches every element. */
        static boolean matches(String pattern, String path) {
            return patterns.computeIfAbsent(pattern, p -> {
                StringBuilder regex = new StringBuilder("(.*\\.)?");
                for (Matcher m = Pattern.compile("(\\.?)([^.\\[]+)(\\[[^]]*])?").matcher(p); m.find(); )
                    regex.append(m.group(1).replace(".", "\\.")).append(Pattern.quote(m.group(2))).append(m.group(3) == null ? "(\\[[^]]*]'*)?" : Pattern.quote(m.group(3)));
                return Pattern.compile(regex.toString());
            }).matcher(path).matches();
        }

        /** An id that a broker makes up becomes class#N, N being the case that it is first seen in; "none" values stay. An unseen id is "" unless it may be new. */
        String alias(JsonNode n, String path, boolean mayBeNew) {
            String value = n.toString(), text = n.asText();
            if (n.isNull() || text.isEmpty() || n.isNumber() && n.asLong() < 0 || text.equals("AAAAAAAAAAAAAAAAAAAAAA")) return value;
            for (JsonNode r : rules) for (var kind : r.path("alias").properties()) for (JsonNode p : kind.getValue()) if (matches(p.asText(), path)) {
                Map<String, String> known = aliases.computeIfAbsent(kind.getKey(), k -> new HashMap<>());
                if (mayBeNew && !known.containsKey(text)) known.put(text, kind.getKey() + "#" + number + "'".repeat(fresh.merge(kind.getKey(), 1, Integer::sum) - 1));
                return known.getOrDefault(text, "");
            }
            return value;
        }

        static String shape(JsonNode n) {
            return n.isNull() ? "null" : n.isNumber() ? "number of sign " + Long.signum(n.asLong()) : n.asText().isEmpty() ? "empty" : "some text";
        }
    }

    static final class Diff {
        static boolean all(String a, String b, Collection<String> files) throws Exception {
            int pass = 0, fail = 0;
            Map<String, List<ObjectNode>> kept = a.startsWith("@") ? kept(a.substring(1)) : null;
            for (String file : files) {
                List<JsonNode> rules = new ArrayList<>();
                List<Case> cases = new ArrayList<>();
                List<String> text = Files.readAllLines(Path.of(file));
                for (int n = 0; n < text.size(); n++) {
                    cases.addAll(Case.parse(text.get(n), file + ":" + (n + 1)));
                    for (JsonNode r : text.get(n).startsWith("{\"rules\"") ? JSON.readTree(text.get(n)).get("rules") : JSON.createArrayNode())
                        rules.add(r.isTextual() ? JSON.readTree(Path.of(file).resolveSibling(r.asText()).toFile()) : new Session("").fillIn(r));
                }
                String base = Path.of(file).getFileName().toString();
                if (kept != null && (!kept.containsKey(base) || kept.get(base).size() != cases.size())) throw new IllegalStateException("no kept answers for " + file);
                var left = CompletableFuture.supplyAsync(() -> kept == null ? answers(a, cases) : kept.get(base));
                List<ObjectNode> right = answers(b, cases);
                Normal x = new Normal(), y = new Normal();
                for (int i = 0; i < cases.size(); i++) {
                    Case c = cases.get(i);
                    List<JsonNode> all = new ArrayList<>(rules);
                    all.add(new Session("").fillIn(c.json.path("rule")));
                    List<String> lines = compare(x.flat(left.get().get(i), all, i), y.flat(right.get(i), all, i), x.optional, y.optional);
                    if (lines.stream().allMatch(l -> l.startsWith("  note"))) pass++; else fail++;
                    if (json) { if (!lines.isEmpty()) System.out.println(line(base, c, lines)); continue; }
                    if (!lines.isEmpty()) System.out.println(c.where + " " + c.name + ": " + c.json.path("why").asText());
                    lines.stream().limit(10).forEach(System.out::println);
                    if (lines.size() > 10) System.out.println("  and " + (lines.size() - 10) + " more");
                }
            }
            System.out.println("PASS " + pass + " FAIL " + fail);
            return fail == 0;
        }

        static ObjectNode line(String file, Case c, List<String> lines) {
            ObjectNode out = JSON.createObjectNode().put("file", file).put("where", c.where).put("name", c.name).put("why", c.json.path("why").asText());
            for (String l : lines) out.withArray(l.startsWith("  note ") ? "notes" : "paths").add(l.replaceFirst("^ *(note )?", ""));
            return out;
        }

        static void keep(String to, String host, Collection<String> files) throws Exception {
            try (PrintWriter out = new PrintWriter(to, StandardCharsets.UTF_8)) {
                out.println(JSON.createObjectNode().put("run", run).put("now", now));
                for (String file : files) {
                    List<Case> cases = new ArrayList<>();
                    for (String text : Files.readAllLines(Path.of(file))) cases.addAll(Case.parse(text, file));
                    ArrayNode all = JSON.createArrayNode().addAll(answers(host, cases));
                    out.println(JSON.createObjectNode().put("file", Path.of(file).getFileName().toString()).set("answers", all));
                }
            }
        }

        /** Kept answers by file name; the run and the time of then become those of now, so that names and timestamps agree. */
        static Map<String, List<ObjectNode>> kept(String from) throws IOException {
            Map<String, List<ObjectNode>> out = new HashMap<>();
            for (String text : Files.readAllLines(Path.of(from))) {
                JsonNode line = JSON.readTree(text);
                if (line.has("run")) { run = line.get("run").asText(); now = line.get("now").asLong(); continue; }
                List<ObjectNode> answers = new ArrayList<>();
                line.get("answers").forEach(n -> answers.add((ObjectNode) n));
                out.put(line.get("file").asText(), answers);
            }
            return out;
        }

        static List<ObjectNode> answers(String host, List<Case> cases) { return cases.stream().map(new Session(host)::run).toList(); }

        /** One line for each path whose values differ; elements marked optional that only one side has are noted. */
        static List<String> compare(Map<String, String> left, Map<String, String> right, Set<String> here, Set<String> there) {
            Set<String> paths = new TreeSet<>(left.keySet()), lone = new HashSet<>(here);
            paths.addAll(right.keySet());
            lone.addAll(there);
            lone.removeIf(o -> here.contains(o) && there.contains(o));
            List<String> out = new ArrayList<>();
            for (String p : paths) {
                String l = left.getOrDefault(p, "absent"), r = right.getOrDefault(p, "absent");
                if (!l.equals(r) || p.equals("error")) out.add((lone.stream().anyMatch(p::startsWith) ? "  note " : "  ") + p + ": " + cut(l) + " | " + cut(r));
            }
            return out;
        }

        static String cut(String s) { return s.length() < 200 ? s : s.substring(0, 200) + "..."; }
    }
}
