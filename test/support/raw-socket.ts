import { connect } from 'node:net'
import { expect, vi } from 'vitest'
import type { TestServer } from './server.ts'

/** Listens on a free loopback port. */
export async function listen({ app }: TestServer): Promise<number> {
  await app.server.listen({ port: 0, host: '127.0.0.1' })
  const address = app.server.server.address()
  if (address === null || typeof address === 'string') throw new Error('There is no port.')
  return address.port
}

export interface RawAnswer {
  /** Status of each response on the connection, in order. */
  statuses: number[]
  text: string
  /** Whether the server ended the connection by itself. */
  closed: boolean
}

const PATIENCE_MS = 2000

/**
 * Sends bytes as they are. Resolves when the server closes the connection, or `enough` says that the
 * answer is complete.
 */
export function sendRaw(
  port: number,
  bytes: string | Buffer,
  enough: (text: string) => boolean = () => false,
): Promise<RawAnswer> {
  return new Promise((resolve) => {
    let text = ''
    const socket = connect(port, '127.0.0.1')
    const finish = (closed: boolean) => {
      clearTimeout(timer)
      socket.destroy()
      const statuses = [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, code]) => Number(code))
      resolve({ statuses, text, closed })
    }
    const timer = setTimeout(() => finish(false), PATIENCE_MS)
    socket.on('connect', () => socket.write(bytes))
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1')
      if (enough(text)) finish(false)
    })
    socket.on('error', () => finish(true))
    socket.on('close', () => finish(true))
  })
}

/** One response with a body of known length has arrived. */
export function oneAnswer(text: string): boolean {
  const end = text.indexOf('\r\n\r\n')
  if (end < 0) return false
  const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0)
  return text.length >= end + 4 + length
}

/** Sends a POST but for its last byte. Returns the way to send that and learn the status. */
export async function beginRequest(
  port: number,
  { token, path, body }: { token: string; path: string; body: string },
): Promise<() => Promise<number>> {
  const socket = connect(port, '127.0.0.1')
  let text = ''
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1')
  })
  const head = [
    `POST ${path} HTTP/1.1`,
    'host: localhost',
    `authorization: Bearer ${token}`,
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(body)}`,
    'expect: 100-continue',
    'connection: close',
  ]
  socket.write(`${head.join('\r\n')}\r\n\r\n`)
  // Node says so when it hands the request over, and not before.
  await vi.waitFor(() => expect(text).toContain('100 Continue'))
  text = ''
  const bytes = Buffer.from(body)
  socket.write(bytes.subarray(0, -1))
  return () =>
    new Promise((resolve, reject) => {
      socket.on('error', reject)
      socket.on('close', () => resolve(Number(/HTTP\/1\.1 (\d{3}) /.exec(text)?.[1])))
      socket.write(bytes.subarray(-1))
    })
}
