package com.example;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.MetadataUtils;
import java.net.URI;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import sigil.trust.v1.Trust.CheckRequest;
import sigil.trust.v1.Trust.CheckResponse;
import sigil.trust.v1.TrustServiceGrpc;
import sigil.type.v1.Type.Verdict;

/**
 * Asks a Sigil server one question: check SERVER ACTION TARGET.
 *
 * <p>Exit code 0: allowed. 1: denied, or in review. 2: no answer, which is a deny too.
 */
public final class Check {
  private static final int DEADLINE_SECONDS = 10;
  private static final Set<String> THIS_MACHINE = Set.of("127.0.0.1", "[::1]", "localhost");
  private static final Metadata.Key<String> AUTHORIZATION =
      Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

  private Check() {}

  /** Whether a decision permits the action. Throws if it contradicts itself, or comes without the id of its record. */
  private static boolean permits(CheckResponse decision) {
    Verdict verdict = decision.getVerdict();
    boolean isDecided = !decision.getAuditId().isEmpty();
    if (isDecided && decision.getAllowed() && verdict == Verdict.VERDICT_ALLOW) {
      return true;
    }
    boolean isRefusal = verdict == Verdict.VERDICT_DENY || verdict == Verdict.VERDICT_REVIEW;
    if (isDecided && !decision.getAllowed() && isRefusal) {
      return false;
    }
    throw new IllegalStateException("the reply contradicts itself");
  }

  /** What a call carries: the token of the environment, or nothing. Without TLS it is sent to this machine only. */
  private static Metadata credentials(String server) {
    Metadata metadata = new Metadata();
    String token = System.getenv("CHECK_TOKEN");
    if (token != null) {
      if (!THIS_MACHINE.contains(String.valueOf(URI.create("http://" + server).getHost()))) {
        throw new IllegalArgumentException("a token is not sent to another machine without TLS");
      }
      // HTTP/2 drops a value with a control character, and the call would be a Guest's.
      if (!token.chars().allMatch(character -> character > ' ' && character < 0x7f)) {
        throw new IllegalArgumentException("CHECK_TOKEN must be visible ASCII");
      }
      metadata.put(AUTHORIZATION, "Bearer " + token);
    }
    return metadata;
  }

  private static CheckResponse check(String server, CheckRequest question) {
    Metadata credentials = credentials(server);
    ManagedChannel channel = Grpc.newChannelBuilder(server, InsecureChannelCredentials.create()).build();
    try {
      return TrustServiceGrpc.newBlockingStub(channel)
          .withDeadlineAfter(DEADLINE_SECONDS, TimeUnit.SECONDS)
          .withInterceptors(MetadataUtils.newAttachHeadersInterceptor(credentials))
          .check(question);
    } finally {
      channel.shutdownNow();
    }
  }

  /** The code, the reason and which fields were refused. */
  private static String describe(StatusRuntimeException refusal) {
    StringBuilder text = new StringBuilder(refusal.getStatus().getCode().name());
    try {
      for (Any detail : StatusProto.fromThrowable(refusal).getDetailsList()) {
        if (detail.is(ErrorInfo.class)) {
          text.append(' ').append(detail.unpack(ErrorInfo.class).getReason());
        } else if (detail.is(BadRequest.class)) {
          for (var violation : detail.unpack(BadRequest.class).getFieldViolationsList()) {
            text.append('\n').append(violation.getField()).append(": ").append(violation.getDescription());
          }
        }
      }
    } catch (InvalidProtocolBufferException malformed) {
      text.append(" with malformed details");
    }
    return text.toString();
  }

  private static boolean ask(String[] words) {
    if (words.length != 3) {
      throw new IllegalArgumentException("usage: check SERVER ACTION TARGET");
    }
    CheckRequest question = CheckRequest.newBuilder().setAction(words[1]).setTarget(words[2]).build();
    CheckResponse decision = check(words[0], question);
    boolean isAllowed = permits(decision);
    System.out.println(decision.getVerdict() + " " + decision.getReason() + " " + decision.getAuditId());
    return isAllowed;
  }

  private static int exitCode(String[] words) {
    try {
      return ask(words) ? 0 : 1;
    } catch (StatusRuntimeException refusal) {
      System.err.println("no answer: " + describe(refusal));
    } catch (RuntimeException error) {
      System.err.println("no answer: " + error.getMessage());
    }
    return 2;
  }

  public static void main(String[] words) {
    // An uncaught error would end with 1, which is a deny.
    int exitCode = 2;
    try {
      exitCode = exitCode(words);
    } finally {
      System.exit(exitCode);
    }
  }
}
