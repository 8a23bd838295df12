import { offlineVerifier } from '@mintmark/sdk'

const verifier = offlineVerifier({
  issuer: ISSUER,
  audience: 'https://builds.example.com',
  // The server lets no other site read its answers, so they come by way of ours (see vite.config.js).
  fetch: (input, init) => {
    const { pathname, search } = new URL(input)
    return fetch(`${location.origin}${pathname}${search}`, init)
  },
})
const token = document.querySelector('#token')
const output = document.querySelector('#verdict')

async function show() {
  if (token.value === '') return
  const verdict = await verifier.verify({ token: token.value.trim() })
  output.textContent = verdict.active ? `good, for ${verdict.owner.username}` : verdict.reason
}

token.addEventListener('input', show)
setInterval(show, 1000)
