// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a process is called when nobody has named it.
//!
//! In: its executable and its command line. Out: the name of the program: the executable's, or behind an interpreter
//! the script's, module's or archive's, without its extension and its folder.
//! Does not: read files. `python3 app.py` is `app`, `python3 -m uvicorn shop:app` is `uvicorn`, `node src/server.js` is
//! `server`, `java -jar /opt/shop.jar` is `shop`, `java com.shop.Main` is `Main`, `dotnet Shop.dll` is `Shop`.

use std::path::Path;

use super::{
    facts::ProcessFacts,
    language::{Language, of_program_name},
};

/// Bytes of a name. Larger: one process's odd arguments widen every table. Smaller: long names are cut.
const NAME_BYTES: usize = 128;

/// Files that say nothing of what they start: their folder does.
const NAMELESS_SCRIPTS: [&str; 6] = ["__main__", "index", "main", "manage", "wsgi", "asgi"];

#[must_use]
pub fn program_name(facts: &ProcessFacts) -> Option<String> {
    let executable = facts.executable.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy());
    // The kernel marks the file of a program that was replaced while it runs.
    let executable = executable.as_deref().map(|name| name.strip_suffix(" (deleted)").unwrap_or(name));
    let behind = executable.and_then(of_program_name).and_then(|language| script(language, &facts.command_line));
    let name = behind.or_else(|| executable.map(str::to_owned)).or_else(|| Some(facts.name.clone()))?;
    let end = (0..=NAME_BYTES.min(name.len())).rev().find(|end| name.is_char_boundary(*end))?;
    (end > 0).then(|| name[..end].to_owned())
}

/// The program behind an interpreter; absent for one that reads its program from elsewhere.
fn script(language: Language, command_line: &[String]) -> Option<String> {
    let arguments = command_line.get(1..)?;
    match language {
        Language::Java => java(arguments),
        Language::Python => python(arguments),
        Language::Nodejs => first_file(arguments, &["-r", "--require", "--import", "--loader", "-C", "--conditions"]),
        Language::Ruby => first_file(arguments, &["-I", "-r", "-C", "-E"]),
        Language::Php => first_file(arguments, &["-c", "-d", "-S", "-t", "-z"]),
        Language::Dotnet => {
            first_file(arguments, &["--additionalprobingpath", "--depsfile", "--runtimeconfig", "--fx-version"])
        }
        Language::Erlang | Language::Go | Language::Rust => None,
    }
}

fn java(arguments: &[String]) -> Option<String> {
    let with_value =
        ["-cp", "-classpath", "--class-path", "-p", "--module-path", "--add-modules", "--add-opens", "--add-exports"];
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "-jar" => return arguments.next().and_then(|path| stem(path)),
            "-m" | "--module" => return arguments.next()?.rsplit(['/', '.']).next().map(str::to_owned),
            option if with_value.contains(&option) => drop(arguments.next()),
            option if option.starts_with(['-', '@']) => {}
            class => return class.rsplit(['.', '/']).next().map(str::to_owned),
        }
    }
    None
}

fn python(arguments: &[String]) -> Option<String> {
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "-m" => return arguments.next()?.split('.').next().map(str::to_owned),
            "-c" | "-" => return None,
            "-W" | "-X" => drop(arguments.next()),
            option if option.starts_with('-') => {}
            path => return stem(path),
        }
    }
    None
}

/// The first argument that is no option and no option's value.
fn first_file(arguments: &[String], with_value: &[&str]) -> Option<String> {
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // Code in the command line has no name.
            "-e" | "--eval" | "-p" | "--print" => return None,
            option if with_value.contains(&option) => drop(arguments.next()),
            option if option.starts_with('-') => {}
            path => return stem(path),
        }
    }
    None
}

/// The file's name without its extension, or its folder's where that name says nothing.
fn stem(path: &str) -> Option<String> {
    let path = Path::new(path);
    let name = path.file_stem()?.to_string_lossy();
    let folder = || path.parent()?.file_name().map(|folder| folder.to_string_lossy());
    let told = if NAMELESS_SCRIPTS.contains(&&*name) { folder().unwrap_or(name) } else { name };
    Some(told.into_owned()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(executable: &str, command_line: &str, expected: &str) {
        let facts = ProcessFacts {
            name: "comm".to_owned(),
            executable: (!executable.is_empty()).then(|| executable.into()),
            command_line: command_line.split(' ').map(str::to_owned).collect(),
            ..ProcessFacts::default()
        };
        assert_eq!(program_name(&facts).as_deref(), Some(expected), "{command_line}");
    }

    #[test]
    fn compiled_programs() {
        check("/usr/sbin/nginx", "nginx: worker process", "nginx");
        check("/srv/shop (deleted)", "./shop", "shop");
        check("", "", "comm");
        check(&format!("/{}", "ü".repeat(100)), "x", &"ü".repeat(64));
    }

    #[test]
    fn scripts() {
        let python = "/usr/bin/python3.12";
        check(python, "python3 app.py", "app");
        check(python, "python3 -u -X dev -W ignore /srv/app.py --port 1", "app");
        check(python, "python3 -m uvicorn shop:app", "uvicorn");
        check(python, "python3 -m http.server", "http");
        check(python, "python3 /srv/shop/manage.py runserver", "shop");
        check(python, "python3 main.py", "main");
        check(python, "python3 -c code", "python3.12");
        check(python, "python3", "python3.12");
        check(python, "/venv/bin/python /venv/bin/gunicorn app:app", "gunicorn");
        check("/usr/bin/node", "node server.js", "server");
        check("/usr/bin/node", "node --max-old-space-size=64 -r ./trace.js src/server.mjs", "server");
        check("/usr/bin/node", "node /srv/shop/index.js", "shop");
        check("/usr/bin/node", "node -e code", "node");
        check("/usr/bin/ruby3.1", "ruby -I lib app.rb", "app");
        check("/usr/bin/php8.2", "php -S 0.0.0.0:80 router.php", "router");
        check("/usr/bin/dotnet", "dotnet Shop.Api.dll", "Shop.Api");
    }

    #[test]
    fn java_programs() {
        let java = "/usr/lib/jvm/bin/java";
        check(java, "java -jar /opt/shop.jar", "shop");
        check(java, "java -Xmx1g -cp a.jar:b.jar com.shop.Main arg", "Main");
        check(java, "java -Dx=y -jar shop-1.2.jar", "shop-1.2");
        check(java, "java -m com.shop/com.shop.Main", "Main");
        check(java, "java -version", "java");
    }
}
