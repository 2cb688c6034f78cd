import { createInbox, type NatsConnection } from "@nats-io/nats-core";
import type { Connection, Source } from "./connection.js";
import { overlap } from "./options.js";
import { pause, timing } from "./timing.js";

const MAX_NAMES = 10_000;

/** Says what there is if nothing comes. A wrong subject is silent otherwise. */
export async function tellSilence(
  nc: NatsConnection,
  connection: Connection,
  source: Source,
  signal: AbortSignal,
): Promise<void> {
  const opened = await Promise.race([connection.opened.then(() => true, () => false), pause(1e9, signal)]);
  await pause(timing.quiet, signal);
  const ofGaps = source.subjects.every((subject) => subject.startsWith("cvf.gap."));
  if (opened !== true || signal.aborted || ofGaps || !source.silent) {
    return;
  }
  const known = [...(await published(nc, connection, signal))].sort();
  if (signal.aborted) {
    return;
  }
  const mine = known.filter((subject) => source.subjects.some((own) => overlap(subject, own)));
  connection.log(
    `nothing on ${source.subjects.join(", ")} within ${timing.quiet / 1000} s: ` +
      (mine.length > 0
        ? `cvfeeder publishes ${some(mine)}, so its cameras have no new frames, or nothing has been stored`
        : known.length > 0
          ? `cvfeeder publishes ${some(known)}`
          : "no cvfeeder answers on cvf.svc.streams, which would say what there is"),
  );
}

/** The subjects on which the cvfeeders of this NATS publish, as far as they answer. */
async function published(nc: NatsConnection, connection: Connection, signal: AbortSignal): Promise<Set<string>> {
  const found = new Set<string>();
  const inbox = createInbox(connection.inboxPrefix);
  connection.setOptional(inbox);
  try {
    const subscription = nc.subscribe(inbox, {
      callback: (_, msg) => {
        try {
          for (const stream of msg.json<{ outputs: { subject: string }[] }[]>()) {
            stream.outputs.forEach(({ subject }) => found.size < MAX_NAMES && found.add(String(subject)));
          }
        } catch {
          // no answer of a cvfeeder
        }
      },
    });
    nc.publish("cvf.svc.streams", "", { reply: inbox });
    await pause(timing.answers, signal);
    subscription.unsubscribe();
  } catch {
    // The connection is lost.
  }
  return found;
}

function some(subjects: readonly string[]): string {
  const more = subjects.length > 5 ? ` and ${subjects.length - 5} more` : "";
  return subjects.slice(0, 5).join(", ") + more;
}
