package tidemill.tools;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.common.utils.AppInfoParser;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs the main methods of Apache Kafka's tools one after the other, for the start of a virtual machine costs more
 * than most of them.
 *
 * <p>One JSON object a line: {@code {"class": C, "arguments": […], "stdin": TEXT}}, answered by
 * {@code {"status": N, "out": TEXT, "error": TEXT}}.
 */
public final class Runner {
    private static final ObjectMapper JSON = new ObjectMapper();
    /** What the tool at work does at its end: the console producer flushes. */
    private static final List<Runnable> HOOKS = new ArrayList<>();

    private Runner() {
    }

    /** What a tool's exit is here. */
    private static final class Ended extends Error {
        private static final long serialVersionUID = 1L;

        Ended(int status) {
            super("exit " + status, null, false, false);
        }
    }

    /** The status of the tool at work. Some catch all that is thrown and exit a second time: the first one counts. */
    private static Integer exited;

    private static void end(int status) {
        if (exited == null) {
            exited = status;
        }
        throw new Ended(status);
    }

    public static void main(String[] arguments) throws IOException {
        Exit.setExitProcedure((status, message) -> end(status));
        Exit.setHaltProcedure((status, message) -> end(status));
        Exit.setShutdownHookAdder((name, hook) -> HOOKS.add(hook));
        PrintStream answers = System.out;
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            ObjectNode answer = run(JSON.readTree(line)).put("version", AppInfoParser.getVersion());
            answers.println(JSON.writeValueAsString(answer));
            answers.flush();
        }
        Runtime.getRuntime().halt(0);
    }

    private static ObjectNode run(JsonNode asked) {
        String[] arguments = JSON.convertValue(asked.get("arguments"), String[].class);
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        ByteArrayOutputStream error = new ByteArrayOutputStream();
        PrintStream errorBefore = System.err;
        int status;
        exited = null;
        System.setIn(new ByteArrayInputStream(asked.path("stdin").asText().getBytes(StandardCharsets.UTF_8)));
        try (PrintStream outNow = new PrintStream(out, true, StandardCharsets.UTF_8);
                PrintStream errorNow = new PrintStream(error, true, StandardCharsets.UTF_8)) {
            System.setOut(outNow);
            System.setErr(errorNow);
            // Scala's tools print to a stream of its own, which follows the thread.
            status = scala.Console.withOut(outNow, () -> statusOf(asked.get("class").asText(), arguments));
            HOOKS.forEach(Runnable::run);
            HOOKS.clear();
        } finally {
            // What a tool's threads still say is no answer.
            System.setOut(errorBefore);
            System.setErr(errorBefore);
        }
        return JSON.createObjectNode().put("status", status)
            .put("out", out.toString(StandardCharsets.UTF_8)).put("error", error.toString(StandardCharsets.UTF_8));
    }

    private static int statusOf(String tool, String[] arguments) {
        try {
            Class.forName(tool).getMethod("main", String[].class).invoke(null, (Object) arguments);
            return exited == null ? 0 : exited;
        } catch (InvocationTargetException ended) {
            if (exited != null) {
                return exited;
            }
            ended.getCause().printStackTrace();
            return 1;
        } catch (ReflectiveOperationException failure) {
            failure.printStackTrace();
            return 1;
        }
    }
}
