import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import zipkin2.DependencyLink;
import zipkin2.Span;
import zipkin2.internal.DependencyLinker;

/**
 * Feeds Zipkin's DependencyLinker with traces from standard input. A span a line:
 * {@code trace span parent kind shared service remote error}, "-" for none; "." ends a trace, "=" a case, which is
 * answered with a line {@code parent child calls errors} for each link, and "=".
 */
public final class Linker {
  public static void main(String[] arguments) throws Exception {
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    PrintWriter out = new PrintWriter(System.out, false, StandardCharsets.UTF_8);
    DependencyLinker linker = new DependencyLinker();
    List<Span> trace = new ArrayList<>();
    for (String line; (line = in.readLine()) != null; ) {
      if (line.equals(".")) {
        linker.putTrace(trace);
        trace = new ArrayList<>();
      } else if (line.equals("=")) {
        for (DependencyLink link : linker.link()) {
          out.println(link.parent() + " " + link.child() + " " + link.callCount() + " " + link.errorCount());
        }
        out.println("=");
        out.flush();
        linker = new DependencyLinker();
      } else {
        trace.add(span(line.split(" ")));
      }
    }
  }

  private static Span span(String[] field) {
    Span.Builder span = Span.newBuilder().traceId(field[0]).id(field[1]);
    if (!field[2].equals("-")) span.parentId(field[2]);
    if (!field[3].equals("-")) span.kind(Span.Kind.valueOf(field[3]));
    if (field[4].equals("shared")) span.shared(true);
    span.localEndpoint(zipkin2.Endpoint.newBuilder().serviceName(field[5]).build());
    if (!field[6].equals("-")) span.remoteEndpoint(zipkin2.Endpoint.newBuilder().serviceName(field[6]).build());
    if (field[7].equals("error")) span.putTag("error", "");
    return span.build();
  }
}
