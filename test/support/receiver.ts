import { createServer, type IncomingHttpHeaders, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface Received {
  path: string
  headers: IncomingHttpHeaders
  body: string
  /** The event in it. */
  // Tests look into messages of every type.
  // biome-ignore lint/suspicious/noExplicitAny: see above
  json: any
}

/** What a webhook leads to: a server on loopback that answers what the test says. */
export interface Receiver {
  url: string
  /** Everything that arrived, in order. */
  received: Received[]
  /** Status of the next answers; a function may write the whole answer. */
  answerWith(status: number, headers?: Record<string, string>): void
  server: Server
  close(): Promise<void>
}

export async function startReceiver(): Promise<Receiver> {
  const received: Received[] = []
  let answer: { status: number; headers: Record<string, string> } = { status: 204, headers: {} }
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString()
      received.push({
        path: request.url ?? '',
        headers: request.headers,
        body,
        json: JSON.parse(body),
      })
      response.writeHead(answer.status, answer.headers).end()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}/hook`,
    received,
    answerWith(status, headers = {}) {
      answer = { status, headers }
    },
    server,
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** Settings with which webhooks may lead to it. */
export const TO_LOOPBACK = {
  MINTMARK_WEBHOOK_ALLOW: '127.0.0.0/8',
  MINTMARK_WEBHOOK_HTTP: 'true',
}
