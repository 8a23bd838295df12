/** The colours by what they are for; both themes keep the contrasts of WCAG 2.2 AA. */
export const THEMES = {
  light: {
    page: '#f1f5f3',
    surface: '#ffffff',
    text: '#15201b',
    muted: '#52605a',
    line: '#d5deda',
    field: '#6d7b75',
    brand: '#0b6b4a',
    'brand-hover': '#085239',
    'on-brand': '#ffffff',
    focus: '#1459b3',
    'danger-surface': '#fdefee',
    danger: '#9f1d23',
    'warning-surface': '#fff5dc',
    warning: '#7a4b00',
    'good-surface': '#e6f5ee',
    good: '#0b6b4a',
  },
  dark: {
    page: '#0d1311',
    surface: '#161e1b',
    text: '#e6eeea',
    muted: '#a2b1aa',
    line: '#2c3833',
    field: '#7d8d86',
    brand: '#7ee0b5',
    'brand-hover': '#a3ebcb',
    'on-brand': '#06251a',
    focus: '#8ec5ff',
    'danger-surface': '#351a1b',
    danger: '#ff9d98',
    'warning-surface': '#33270e',
    warning: '#f5c869',
    'good-surface': '#12291f',
    good: '#7ee0b5',
  },
} as const

function variables(theme: Readonly<Record<string, string>>): string {
  return Object.entries(theme)
    .map(([name, colour]) => `--${name}:${colour};`)
    .join('')
}

/** The one stylesheet of all pages. */
export const STYLE = `
:root{color-scheme:light dark;${variables(THEMES.light)}}
@media (prefers-color-scheme:dark){:root{${variables(THEMES.dark)}}}
*,*::before,*::after{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;text-size-adjust:100%}
body{margin:0;min-height:100vh;min-height:100dvh;padding:1.5rem 1rem 3rem;background:var(--page);color:var(--text);font:1rem/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;overflow-wrap:anywhere}
header,main{width:100%;max-width:27rem;margin-inline:auto}
.wide header,.wide main{max-width:46rem}
header{display:flex;align-items:center;gap:.5rem;margin-bottom:1rem;font-size:1.125rem;font-weight:600}
header svg{width:1.75rem;height:1.75rem;flex:none;color:var(--brand)}
main{padding:1.5rem 1.25rem;background:var(--surface);border:1px solid var(--line);border-radius:.75rem}
h1{margin:0 0 .5rem;font-size:1.5rem;line-height:1.25;letter-spacing:-.01em}
h2{margin:1.5rem 0 .5rem;font-size:1rem;line-height:1.4}
p{margin:0 0 1rem}
h1+.box{margin-top:1rem}
.over{margin-bottom:.125rem}
main>:last-child,form>:last-child,.box>:last-child{margin-bottom:0}
.lead,.hint,.note{color:var(--muted)}
.lead bdi,.lead strong{color:var(--text)}
.hint,.note{font-size:.875rem}
.note{margin:1.25rem 0 0}
a{color:var(--brand);text-underline-offset:.15em}
a:hover{color:var(--brand-hover)}
code{font:.9375em/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace}
.box{margin:0 0 1.25rem;padding:.75rem 1rem;border:1px solid currentColor;border-left-width:.3125rem;border-radius:.5rem}
.box p{margin-bottom:.25rem}
.danger{background:var(--danger-surface);color:var(--danger)}
.warning{background:var(--warning-surface);border-color:var(--warning)}
.warning strong{color:var(--warning)}
.good{background:var(--good-surface);color:var(--good)}
.field{margin-bottom:1.125rem}
label{display:block;margin-bottom:.25rem;font-weight:600}
.field .hint{margin:0 0 .375rem}
input{display:block;width:100%;min-height:2.875rem;padding:.5rem .75rem;font:inherit;color:var(--text);background:var(--surface);border:1px solid var(--field);border-radius:.5rem}
input[readonly]{background:var(--page);color:var(--muted)}
input[aria-invalid]{border-color:var(--danger);box-shadow:inset 0 0 0 1px var(--danger)}
input.code{font:600 1.375rem/1.4 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;letter-spacing:.12em;text-transform:uppercase}
.actions{display:grid;gap:.75rem;margin-top:1.5rem}
.pair{grid-template-columns:1fr 1fr}
button{min-height:2.875rem;padding:.5rem 1rem;font:inherit;font-weight:600;color:var(--text);background:transparent;border:1px solid var(--field);border-radius:.5rem;cursor:pointer}
button:hover{background:var(--page)}
.primary{color:var(--on-brand);background:var(--brand);border-color:var(--brand)}
.primary:hover{color:var(--on-brand);background:var(--brand-hover);border-color:var(--brand-hover)}
.plain{min-height:1.75rem;padding:0;border-color:transparent;border-width:1px 0;font-size:.9375rem;font-weight:400;text-align:start;color:var(--brand);text-decoration:underline;text-underline-offset:.15em}
.withdraw{color:var(--danger);border-color:var(--danger)}
.withdraw:hover{background:var(--danger-surface)}
:focus-visible{outline:3px solid var(--focus);outline-offset:2px}
.account{display:flex;flex-wrap:wrap;align-items:baseline;justify-content:space-between;gap:0 .75rem;margin:0 0 1.25rem;color:var(--muted)}
.account p{margin:0}
.account strong{color:var(--text)}
ul.rights{margin:0 0 1rem;padding:0;list-style:none}
.rights li{position:relative;padding:.3125rem 0 .3125rem 1.625rem}
.rights li::before{content:"";position:absolute;left:.25rem;top:.6875rem;width:.375rem;height:.6875rem;border:solid var(--brand);border-width:0 .125rem .125rem 0;transform:rotate(45deg)}
.rights .risk{color:var(--warning);font-weight:600}
.rights .risk::before{border-color:var(--warning)}
.rights small{display:block;font-size:.8125rem;font-weight:400;color:var(--muted)}
.facts{display:grid;grid-template-columns:1fr;margin:1.25rem 0 0;padding-top:1rem;border-top:1px solid var(--line);font-size:.9375rem}
.facts div{margin-bottom:.625rem}
.facts dt{color:var(--muted);font-size:.8125rem}
.facts dd{margin:0}
.usercode{margin:0 0 1rem;padding:.625rem;background:var(--page);border:1px solid var(--line);border-radius:.5rem;text-align:center;font-size:1.75rem;font-weight:600;letter-spacing:.1em}
ul.links{margin:1.25rem 0 0;padding:0;list-style:none}
.links li{padding:.75rem 0;border-top:1px solid var(--line)}
.links a{font-weight:600}
.links .hint{margin:0}
ul.grants{margin:1.25rem 0 0;padding:0;list-style:none}
.grants>li{padding:1.25rem 0;border-top:1px solid var(--line)}
.grants h2{margin:0;font-size:1.125rem}
.grants .facts{margin-top:.75rem;padding:0;border:0}
.grants form{margin-top:.5rem}
.paging{display:flex;flex-wrap:wrap;gap:.5rem 1.5rem;padding-top:1.25rem;border-top:1px solid var(--line)}
.paging a{padding:.375rem 0}
.top{display:flex;flex-wrap:wrap;align-items:baseline;justify-content:space-between;gap:0 1rem}
.top a{padding:.375rem 0}
.unseen{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
@media (min-width:40rem){
body{padding-top:min(10vh,5rem)}
main{padding:2rem}
.wide .facts{grid-template-columns:repeat(3,1fr);gap:0 1.5rem}
.grants button{width:auto}
}
@media (forced-colors:active){.rights li::before{border-color:CanvasText}}
`
  .replaceAll('\n', '')
  .trim()
