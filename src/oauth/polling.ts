/** RFC 8628, section 3.5: the least time between two polls when the answer named none. */
const POLL_SECONDS = 5
/** Devices that poll at the same time; more than that forget whose turn it was. */
const MAX_DEVICES = 10_000

/** Whether a device asks again before its time. Only slows clients down, so memory is enough. */
export type PollWatch = (deviceCode: string, nowMs: number) => boolean

export function pollWatch(): PollWatch {
  /** Device code → when it was last asked about, newest last. */
  const polls = new Map<string, number>()
  return (deviceCode, nowMs) => {
    const last = polls.get(deviceCode)
    polls.delete(deviceCode)
    polls.set(deviceCode, nowMs)
    const [oldest] = polls.size > MAX_DEVICES ? polls.keys() : []
    if (oldest !== undefined) polls.delete(oldest)
    return last !== undefined && nowMs - last < POLL_SECONDS * 1000
  }
}
