import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** The network between a server and its database, as bad as a test wants it. */
export interface Wire {
  /** The address of the database through it. */
  url: string
  /** Ends every connection, and refuses new ones. */
  cut(): void
  /** Lets every connection stand and passes nothing on, as a network does that loses all packets. */
  swallow(): void
  /** Passes everything on so much later, both ways. */
  slow(ms: number): void
  /** Ends, once, the connection on which something is committed: the commit arrives, its answer does not. */
  cutAtCommit(): void
  heal(): void
  /** How often `cutAtCommit` has struck. */
  commitsCut(): number
  close(): Promise<void>
}

/** `commit` as a message of PostgreSQL's protocol. */
const COMMIT = Buffer.from('Q\0\0\0\x0bcommit\0', 'latin1')

export async function openWire(databaseUrl: string): Promise<Wire> {
  const target = new URL(databaseUrl)
  const sockets = new Set<Socket>()
  let isCut = false
  let delayMs = 0
  let cutsNext = false
  let commitsCut = 0
  let swallowed: PromiseWithResolvers<void> | undefined

  /** Passes on in order, whatever happens to the delay meanwhile. */
  function passOn(from: Socket, to: Socket, isAnswer: (chunk: Buffer) => boolean): void {
    let last: Promise<unknown> = Promise.resolve()
    from.on('data', (chunk) => {
      const isLost = !isAnswer(chunk)
      const due = delayMs === 0 ? undefined : sleep(delayMs)
      last = last
        .then(() => due)
        .then(() => swallowed?.promise)
        .then(() => {
          if (isLost) from.destroy()
          else to.write(chunk)
        })
    })
    from.on('end', () => void last.then(() => to.end()))
    from.on('error', () => to.destroy())
    from.on('close', () => {
      sockets.delete(from)
      to.destroy()
    })
  }

  const server = createServer((near) => {
    if (isCut) return void near.destroy()
    const far = connect(Number(target.port), target.hostname)
    sockets.add(near).add(far)
    let isDoomed = false
    passOn(near, far, (chunk) => {
      if (cutsNext && chunk.includes(COMMIT)) {
        cutsNext = false
        isDoomed = true
      }
      return true
    })
    passOn(far, near, () => {
      if (isDoomed) commitsCut++
      return !isDoomed
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = new URL(databaseUrl)
  url.host = `127.0.0.1:${(server.address() as AddressInfo).port}`

  const endAll = () => {
    for (const socket of sockets) socket.destroy()
  }
  const flow = () => {
    swallowed?.resolve()
    swallowed = undefined
  }
  return {
    url: url.href,
    cut() {
      isCut = true
      endAll()
    },
    swallow() {
      swallowed ??= Promise.withResolvers()
    },
    slow(ms) {
      delayMs = ms
    },
    cutAtCommit() {
      cutsNext = true
    },
    heal() {
      isCut = false
      cutsNext = false
      delayMs = 0
      flow()
    },
    commitsCut: () => commitsCut,
    async close() {
      endAll()
      flow()
      server.close()
      await once(server, 'close')
    },
  }
}
