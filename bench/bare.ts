/**
 * The limit that everything is measured against: Node's own HTTP server, reading the request's body
 * and answering the same bytes each time. Tells its parent, whenever it is asked, how long its event
 * loop was held up since, in nanoseconds: what holds up this one is the machine. Usage: node bare.ts PORT BODY
 */
import { createServer } from 'node:http'
import { monitorEventLoopDelay } from 'node:perf_hooks'

const [port, body = ''] = process.argv.slice(2)
const headers = {
  'content-type': 'application/json; charset=utf-8',
  'content-length': String(Buffer.byteLength(body)),
}

createServer((request, response) => {
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    response.writeHead(200, headers)
    response.end(body)
  })
}).listen(Number(port), '127.0.0.1')

const delay = monitorEventLoopDelay({ resolution: 10 })
delay.enable()
process.on('message', () => {
  process.send?.(delay.max)
  delay.reset()
})
