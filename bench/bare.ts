/**
 * The limit that everything is measured against: Node's own HTTP server, reading the request's body
 * and answering the same bytes each time. Usage: node bare.ts PORT BODY
 */
import { createServer } from 'node:http'

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
