import java.io.DataInputStream;
import java.io.BufferedInputStream;
import java.io.FileInputStream;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import zipkin2.Span;
import zipkin2.codec.SpanBytesDecoder;
import zipkin2.codec.SpanBytesEncoder;
import zipkin2.internal.DependencyLinker;

/**
 * Zipkin's own way from bytes to links, timed: decode a batch (Zipkin's proto3), group it by trace, link. One thread, warmed up.
 * Argument 1: a file of batches, each a 4-byte length and Zipkin's JSON v2; they are turned to proto3 before anything is timed.
 * Argument 2: how many rounds. Prints "spans calls" and the CPU seconds of the best round.
 */
public final class Peer {
  public static void main(String[] arguments) throws Exception {
    List<byte[]> batches = new ArrayList<>();
    long spans = 0;
    try (DataInputStream in = new DataInputStream(new BufferedInputStream(new FileInputStream(arguments[0])))) {
      while (in.available() > 0) {
        byte[] json = new byte[in.readInt()];
        in.readFully(json);
        List<Span> decoded = SpanBytesDecoder.JSON_V2.decodeList(json);
        spans += decoded.size();
        batches.add(SpanBytesEncoder.PROTO3.encodeList(decoded));
      }
    }
    long best = Long.MAX_VALUE, calls = 0;
    for (int round = 0; round < Integer.parseInt(arguments[1]); round++) {
      long begun = ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime();
      DependencyLinker linker = new DependencyLinker();
      for (byte[] batch : batches) {
        Map<String, List<Span>> traces = new LinkedHashMap<>();
        for (Span span : SpanBytesDecoder.PROTO3.decodeList(batch)) {
          traces.computeIfAbsent(span.traceId(), id -> new ArrayList<>()).add(span);
        }
        for (List<Span> trace : traces.values()) linker.putTrace(trace);
      }
      calls = linker.link().stream().mapToLong(link -> link.callCount()).sum();
      best = Math.min(best, ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime() - begun);
    }
    System.out.println(spans + " " + calls + " " + best / 1e9);
  }
}
