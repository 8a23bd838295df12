import { EventEmitter } from 'node:events'
import { Server } from 'node:http'
import { Readable } from 'node:stream'

// Loaded into a server (`node --import`): with SIGUSR2 something fails in it that no request and no caller
// waits for, as the variable FAILURE says; or a listener does for every request to a certain path.

const failure = () => Object.assign(new Error('of the test'), { row: 'a-secret-of-somebody' })

const FAILURES: Record<string, () => void> = {
  timer: () => {
    setTimeout(() => {
      throw failure()
    }, 1)
  },
  tick: () => {
    process.nextTick(() => {
      throw failure()
    })
  },
  listener: () => {
    const emitter = new EventEmitter().on('event', () => {
      throw failure()
    })
    setImmediate(() => emitter.emit('event'))
  },
  stream: () => {
    // Nobody listens for its errors.
    new Readable({ read: () => undefined }).resume().destroy(failure())
  },
  rejection: () => void Promise.reject(failure()),
  'rejection without an error': () => void Promise.reject({ row: 'a-secret-of-somebody' }),
}

const chosen = process.env.FAILURE
if (chosen === 'request listener') {
  const emit = Server.prototype.emit as (...args: unknown[]) => boolean
  Server.prototype.emit = function failing(this: Server, ...args: unknown[]) {
    const [event, request] = args as [string, { url?: string } | undefined]
    if (event === 'request' && request?.url === '/failing') throw failure()
    return emit.apply(this, args)
  } as typeof Server.prototype.emit
}

process.on('SIGUSR2', () => FAILURES[chosen ?? '']?.())
