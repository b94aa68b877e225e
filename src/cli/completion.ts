/** Bash completion made from the command tree itself, so that it cannot fall behind. */

import type { Command } from "commander";

/** A script for `source`: verbs, their sub-verbs and their long options. Words that are no verb, as arguments and options' values, are passed over. */
export function completionScript(root: Command): string {
  return `# bash completion for overlayd: source <(overlayd completion)
_overlayd() {
  local current="\${COMP_WORDS[COMP_CWORD]}" path="" word
  local -A words=(
${entries(root, "").join("\n")}
  )
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    [[ -n "\${words["$path $word"]-}" ]] && path="$path $word"
  done
  COMPREPLY=($(compgen -W "\${words["$path "]}" -- "$current"))
}
complete -o default -F _overlayd overlayd
`;
}

/** One line per verb: its path, a blank before each word, and one behind where it stands for itself. */
function entries(command: Command, path: string): string[] {
  const words = [
    ...command.commands.map(child => child.name()),
    ...command.options.flatMap(option => (option.long === undefined || option.long === null ? [] : [option.long])),
    "--help",
  ];
  return [
    `    ["${path} "]="${words.join(" ")}"`,
    ...(path === "" ? [] : [`    ["${path}"]=1`]),
    ...command.commands.flatMap(child => entries(child, `${path} ${child.name()}`)),
  ];
}
